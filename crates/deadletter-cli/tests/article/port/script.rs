//! Solve and drain, as the article's two programs do them.

use super::{Entry, Queue, line};
use form_urlencoded::Serializer;
use serde_json::Value;
use std::time::Duration;

/// Polls of one submit.
const POLLS: u32 = 24;
/// Before each poll, seconds.
const POLL_GAP_S: f64 = 5.0;
/// Retries after the first attempt, when a task is new.
pub(crate) const RETRIES: u32 = 3;
/// Retries after the first attempt, in a drain.
const DRAIN_RETRIES: u32 = 2;

/// How the script runs.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// `host:port` of in.php.
    pub(crate) submits_to: String,
    /// `host:port` of res.php.
    pub(crate) polls_at: String,
    pub(crate) key: String,
    /// Its sleeps are so many times shorter.
    pub(crate) pace: f64,
    /// The JavaScript program puts the submit's parameters into the query.
    pub(crate) submits_by_query: bool,
}

/// What a drain came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Drained {
    pub(crate) retried: u32,
    pub(crate) recovered: u32,
    /// Printed as "permanently failed", and kept nowhere.
    pub(crate) printed: u32,
    /// Stopped from outside: it would have gone on.
    pub(crate) cut_off: bool,
}

impl Script {
    /// Python's program against one upstream.
    pub(crate) fn python(base_url: &str, key: &str, pace: f64) -> Self {
        let place = base_url.trim_start_matches("http://").to_owned();
        Self {
            submits_to: place.clone(),
            polls_at: place,
            key: key.to_owned(),
            pace,
            submits_by_query: false,
        }
    }

    /// JavaScript's program against one upstream.
    pub(crate) fn javascript(base_url: &str, key: &str, pace: f64) -> Self {
        Self { submits_by_query: true, ..Self::python(base_url, key, pace) }
    }

    async fn sleep(&self, seconds: f64) {
        // tidy: allow sleep, because the ported script sleeps: it is what the test looks at.
        tokio::time::sleep(Duration::from_secs_f64(seconds / self.pace)).await;
    }

    async fn attempt(&self, sitekey: &str, page_url: &str) -> Result<String, String> {
        let form = Serializer::new(String::new())
            .append_pair("key", &self.key)
            .append_pair("method", "userrecaptcha")
            .append_pair("googlekey", sitekey)
            .append_pair("pageurl", page_url)
            .append_pair("json", "1")
            .finish();
        let submitted = if self.submits_by_query {
            line::request(&self.submits_to, "POST", &format!("/in.php?{form}"), "").await?
        } else {
            line::request(&self.submits_to, "POST", "/in.php", &form).await?
        };
        let (status, id) = parsed(&submitted)?;
        if status != 1 {
            return Err(id);
        }
        let query = format!("key={}&action=get&id={id}&json=1", self.key);
        for _ in 0..POLLS {
            self.sleep(POLL_GAP_S).await;
            let target = format!("/res.php?{query}");
            let reply = line::request(&self.polls_at, "GET", &target, "").await?;
            match parsed(&reply)? {
                (1, token) => return Ok(token),
                (_, word) if word == "CAPCHA_NOT_READY" => {}
                (_, word) => return Err(word),
            }
        }
        Err(format!("Task {id} timed out"))
    }
}

fn parsed(body: &str) -> Result<(i64, String), String> {
    let json: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let request = match &json["request"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok((json["status"].as_i64().unwrap_or_default(), request))
}

/// Solves, or adds an entry to the queue after the last attempt.
pub(crate) async fn solve(
    script: &Script,
    queue: &mut impl Queue,
    sitekey: &str,
    page_url: &str,
    max_retries: u32,
) -> Option<String> {
    for attempt in 0..=max_retries {
        match script.attempt(sitekey, page_url).await {
            Ok(token) => return Some(token),
            Err(error) if attempt == max_retries => queue.push(Entry {
                sitekey: sitekey.to_owned(),
                page_url: page_url.to_owned(),
                error,
                attempts: attempt + 1,
            }),
            Err(_) => script.sleep(f64::from(attempt).exp2()).await,
        }
    }
    None
}

/// Solves what the queue holds until it is empty, or for at most `rounds`.
pub(crate) async fn drain(script: &Script, queue: &mut impl Queue, rounds: u32) -> Drained {
    let mut drained = Drained::default();
    for _ in 0..rounds {
        let Some(entry) = queue.pop() else { return drained };
        if entry.attempts >= RETRIES + DRAIN_RETRIES {
            drained.printed += 1;
            continue;
        }
        drained.retried += 1;
        let solved = solve(script, queue, &entry.sitekey, &entry.page_url, DRAIN_RETRIES).await;
        drained.recovered += u32::from(solved.is_some());
    }
    drained.cut_off = queue.len() > 0;
    drained
}
