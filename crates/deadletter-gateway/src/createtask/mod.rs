//! The createTask family: `createTask`, `getTaskResult` and their like, for clients of that kind.
//!
//! Only the words differ: jobs are stored by `submit`, and tasks are looked at by `question`, so a
//! task that came by one front may be asked for at the other.

mod request;
mod wording;

use crate::{
    askers::Asker,
    gateway::{Gateway, Incoming},
    question, submit,
    wording::Word,
    words,
};
use bytes::Bytes;
use deadletter::{
    Form, Job,
    core::Payload,
    provider::createtask::{NotATask, REPORTS, Says, payload},
};
use hyper::Response;
use request::Request;
use std::net::IpAddr;
use wording::Said;

/// The paths of this front, beside those of reports.
const PATHS: [&str; 3] = ["/createTask", "/getTaskResult", "/getBalance"];

pub(crate) fn is_ours(path: &str) -> bool {
    PATHS.contains(&path) || path.strip_prefix('/').is_some_and(is_report)
}

/// True where that name, without a slash, is a report's.
pub(crate) fn is_report(name: &str) -> bool {
    says(name).is_some()
}

/// What a call of that name says of an answer.
fn says(name: &str) -> Option<Says> {
    REPORTS.iter().find(|(known, _)| *known == name).map(|(_, says)| *says)
}

/// The reply to a POST to one of the paths.
pub(crate) async fn answer(gateway: &Gateway, path: &str, incoming: Incoming) -> Response<Bytes> {
    let said = match Request::read(&incoming.body) {
        Ok(request) => said(gateway, path, request, &incoming).await,
        Err(why) => {
            tracing::debug!(why, "a request cannot be read");
            Said::Word(Word::error(words::BAD_PARAMETERS))
        }
    };
    said.reply()
}

async fn said(gateway: &Gateway, path: &str, request: Request, incoming: &Incoming) -> Said {
    let asker = match gateway.who(request.key(), incoming.peer).await {
        Ok(asker) => asker,
        Err(word) => return Said::Word(word),
    };
    if let Some(says) = path.strip_prefix('/').and_then(says) {
        return report(gateway, &asker, &request, says).await;
    }
    match path {
        "/createTask" => create(gateway, &asker, request, incoming).await,
        "/getTaskResult" => result(gateway, &asker, &request, incoming.peer).await,
        _ => gateway.balance().map_or(Said::Word(Word::error(words::STORE_FAILED)), Said::Balance),
    }
}

async fn create(gateway: &Gateway, asker: &Asker, request: Request, incoming: &Incoming) -> Said {
    let named = request.idempotency_key().or_else(|| incoming.idempotency_key.clone());
    let Ok(url) = request.callback_url() else {
        return Said::Word(Word::error(words::BAD_PARAMETERS));
    };
    let target = url.map(|url| (url.to_owned(), Form::Callback));
    let described = request.task().ok_or(NotATask::Malformed).and_then(payload);
    Said::Word(match described {
        Ok(payload) => {
            let job = Job::from_payload(bare(&payload));
            submit::take(gateway, asker, job, target, named).await
        }
        Err(NotATask::NotSupported) => Word::error(wording::NOT_SUPPORTED),
        Err(NotATask::Malformed) => Word::error(wording::ABSENT),
    })
}

/// The payload without what is the gateway's, where a task has such a field.
fn bare(payload: &Payload) -> Payload {
    let mut fields = payload.expose().clone();
    fields.retain(|name, _| submit::is_of_the_job(name));
    Payload::new(fields)
}

async fn report(gateway: &Gateway, asker: &Asker, request: &Request, says: Says) -> Said {
    let is_good = match says {
        Says::Good => true,
        Says::Bad => false,
        Says::InBody => match request.is_invalid() {
            Some(is_invalid) => !is_invalid,
            None => return Said::Word(Word::error(words::BAD_PARAMETERS)),
        },
    };
    let id = request.task_id().unwrap_or_default();
    match question::report(gateway, asker, &id, is_good).await {
        Word::Bare(_) => Said::Recorded { is_feedback: says == Says::InBody },
        word => Said::Word(word),
    }
}

async fn result(gateway: &Gateway, asker: &Asker, request: &Request, peer: IpAddr) -> Said {
    let id = request.task_id().unwrap_or_default();
    match question::verdict(gateway, asker, &id).await {
        Ok((task, Word::Answer(answer))) => Said::Ready { task: Box::new(task), answer, ip: peer },
        Ok((_, word)) | Err(word) => Said::Word(word),
    }
}
