//! The providers over real sockets on 127.0.0.1.

mod bodies;
mod family;
mod flows;
mod line;
mod peer;
mod secrecy;

use ::secrecy::SecretString;
use deadletter::core::{Class, Failure, Payload, UpstreamId};
use deadletter::provider::captchaai::{CaptchaAi, Settings};
use deadletter::provider::{
    CouldNotAsk, JobFailed, PollError, Polled, Provider, Sent, Submission, SubmitError,
};
use serde_json::{Value, json};
use std::time::Duration;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn settings(base: &str) -> Settings {
    Settings {
        submit_endpoint: format!("{base}/in.php"),
        result_endpoint: format!("{base}/res.php"),
        ..Settings::new(SecretString::from(KEY))
    }
}

/// A provider whose time-outs are real but short: for peers that stay silent on purpose.
fn hasty(base: &str) -> CaptchaAi {
    CaptchaAi::new(Settings {
        connect_timeout: Duration::from_secs(1),
        submit_timeout: Duration::from_secs(1),
        poll_timeout: Duration::from_secs(1),
        ..settings(base)
    })
    .unwrap()
}

fn patient(base: &str) -> CaptchaAi {
    CaptchaAi::new(settings(base)).unwrap()
}

fn recaptcha() -> Value {
    json!({"method": "userrecaptcha", "googlekey": "6Le-site", "pageurl": "https://a.example/x"})
}

async fn submit(provider: &CaptchaAi, fields: &Value) -> Result<UpstreamId, SubmitError> {
    let payload = Payload::new(fields.as_object().unwrap().clone());
    provider.submit(Submission { payload: &payload, proxies_failed: 0 }).await
}

async fn poll(provider: &CaptchaAi) -> Result<Polled, PollError> {
    provider.poll(&UpstreamId::new("74372499131").unwrap()).await
}

/// Cause, class and time of a failure, for comparing.
fn brief(failure: &Failure) -> (&str, Class, Option<i64>) {
    (failure.cause.as_str(), failure.class, failure.retry_after_ms)
}

#[track_caller]
fn refused(result: Result<UpstreamId, SubmitError>) -> Failure {
    match result {
        Err(SubmitError::Refused(JobFailed(failure))) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn doubted(result: Result<UpstreamId, SubmitError>) -> (Sent, Failure) {
    match result {
        Err(SubmitError::CouldNotAsk(CouldNotAsk { sent, failure })) => (sent, failure),
        other => panic!("a verdict: {other:?}"),
    }
}

#[track_caller]
fn failed<T: std::fmt::Debug>(result: Result<T, PollError>) -> Failure {
    match result {
        Err(PollError::Failed(JobFailed(failure))) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

#[track_caller]
fn unasked<T: std::fmt::Debug>(result: Result<T, PollError>) -> Failure {
    match result {
        Err(PollError::CouldNotAsk(CouldNotAsk { failure, .. })) => failure,
        other => panic!("a verdict: {other:?}"),
    }
}
