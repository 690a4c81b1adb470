//! in.php: a job is stored, and its id is the answer.

use crate::{
    askers::Asker, gateway::Gateway, params::Params, pingbacks, quotas::Beyond, wording::Word,
    words,
};
use deadletter::{
    Error, Form, Handle, Job, TARGET_FIELDS,
    core::{Payload, StateKind},
};

/// The parameter that names a job for clients that retry their submit.
const IDEMPOTENCY: &str = "idempotency_key";
/// Who asks and how to answer, beside the target of the job's delivery: no parameters of the job.
const OF_THE_CALL: [&str; 5] = ["key", "json", "header_acao", "soft_id", IDEMPOTENCY];
/// The parameters that name a target here: in.php's, and 2captcha's other name for it.
const NAMES_OF_TARGETS: [&str; 2] = ["pingback", "callback"];

/// A client that retries does so within minutes; its key is kept as long as its answer is.
const IDEMPOTENCY_MS: i64 = 24 * 3_600_000;

pub(crate) async fn answer(
    gateway: &Gateway,
    asker: &Asker,
    params: Params,
    idempotency_key: Option<String>,
) -> Word {
    let named = params.text(IDEMPOTENCY).map(std::borrow::Cow::into_owned);
    let target = match target(&params) {
        Ok(target) => target,
        Err(word) => return word,
    };
    match job(params) {
        Ok(job) => take(gateway, asker, job, target, named.or(idempotency_key)).await,
        Err(word) => word,
    }
}

/// The URL that is to be told, if one is named.
fn target(params: &Params) -> Result<Option<(String, Form)>, Word> {
    for name in NAMES_OF_TARGETS {
        match params.text(name) {
            Some(url) if !url.trim().is_empty() => {
                return Ok(Some((url.trim().to_owned(), Form::Pingback)));
            }
            // A list or an object, in JSON: whoever sends it waits to be told.
            None if params.is_structured(name) => return Err(Word::error(words::BAD_PARAMETERS)),
            _ => {}
        }
    }
    Ok(None)
}

/// Stores a job of that asker's, whatever front it came by, which is told to that URL.
pub(crate) async fn take(
    gateway: &Gateway,
    asker: &Asker,
    job: Job,
    target: Option<(String, Form)>,
    idempotency_key: Option<String>,
) -> Word {
    let job = match target {
        Some((url, form)) => pingbacks::told_to(gateway, asker, job, &url, form).await,
        None => Ok(job),
    };
    match job {
        Ok(job) => store(gateway, asker, job, idempotency_key).await,
        Err(word) => word,
    }
}

async fn store(
    gateway: &Gateway,
    asker: &Asker,
    job: Job,
    idempotency_key: Option<String>,
) -> Word {
    let mut job = job.deadline_ms(gateway.settings.deadline_ms);
    if let Some(owner) = &asker.owner {
        job = job.owner(&**owner);
    }
    if let Some(priority) = asker.priority {
        job = job.priority(priority);
    }
    job = match (idempotency_key, gateway.settings.fold_ms) {
        (Some(key), _) => job.idempotency_key(key, Some(IDEMPOTENCY_MS)),
        (None, Some(ms)) => job.fold_for(ms),
        (None, None) => job,
    };
    let room = match gateway.quotas.room(asker, gateway.store()).await {
        Ok(room) => room,
        Err(beyond) => return heard(asker, over(gateway, &beyond)),
    };
    let Some(place) = gateway.load.take_place(gateway.settings.capacity) else {
        room.give_back();
        return heard(asker, Word::Refused(words::FULL));
    };
    match gateway.engine.submit(job).await {
        Ok(handle) => {
            if handle.is_new {
                place.keep();
                room.taken_by(handle.id);
            } else {
                room.give_back();
            }
            let (task, is_new) = (handle.id.get(), handle.is_new);
            tracing::info!(task, is_new, key = asker.name(), "accepted");
            verdict(gateway, &handle).await
        }
        Err(error) => {
            room.give_back();
            refusal(gateway, &error)
        }
    }
}

/// The same word, of which an operator may hear.
fn heard(asker: &Asker, word: Word) -> Word {
    if let Word::Refused(said) = word {
        tracing::info!(said, key = asker.name(), "refused");
    }
    word
}

/// What a key is told that is at its quota.
fn over(gateway: &Gateway, beyond: &Beyond) -> Word {
    match beyond {
        Beyond::Rate => Word::Refused(words::TOO_FAST),
        Beyond::Count => Word::Refused(words::FULL),
        Beyond::Unknown(error) => refusal(gateway, error),
    }
}

/// True for a parameter that upstream is to see: neither the gateway's nor the delivery's.
pub(crate) fn is_of_the_job(name: &str) -> bool {
    !OF_THE_CALL.contains(&name) && !TARGET_FIELDS.contains(&name)
}

/// The job that the parameters describe.
fn job(params: Params) -> Result<Job, Word> {
    let mut fields = params.into_fields();
    fields.retain(|name, _| is_of_the_job(name));
    if !fields.contains_key("method") && fields.contains_key("file") {
        // The oldest clients send a file and nothing else.
        fields.insert("method".to_owned(), "post".into());
    }
    let is_named = fields.get("method").and_then(|method| method.as_str());
    if is_named.is_none_or(|method| method.trim().is_empty()) {
        return Err(Word::error(words::BAD_PARAMETERS));
    }
    Ok(Job::from_payload(Payload::new(fields)))
}

/// The id; or, where the gateway waits for it, the error that upstream answered to the submit.
async fn verdict(gateway: &Gateway, handle: &Handle) -> Word {
    let id = handle.id.get();
    let wait = gateway.settings.submit_wait;
    if wait.is_zero() || !handle.is_new {
        return Word::Accepted(id);
    }
    match tokio::time::timeout(wait, handle.ended()).await {
        Ok(Ok(task)) if task.kind() != StateKind::Solved => {
            gateway.engine.note_read(&task, None);
            Word::error(words::death(&task))
        }
        // Solved, still under way, or nobody knows: the id is good.
        _ => Word::Accepted(id),
    }
}

fn refusal(gateway: &Gateway, error: &Error) -> Word {
    match error {
        Error::Stopping => Word::error(words::FULL),
        Error::Target(why) => {
            tracing::info!(%why, "a submit names a URL that nothing may be delivered to");
            Word::error(words::BAD_PARAMETERS)
        }
        Error::TooLarge(why) => {
            tracing::info!(%why, "a submit is too large");
            Word::error(words::BAD_PARAMETERS)
        }
        error => {
            gateway.engine.could_not("store a submit", error);
            Word::error(words::STORE_FAILED)
        }
    }
}
