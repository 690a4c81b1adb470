//! res.php: everything is answered from the store, and nothing is asked of upstream for it.

use crate::{
    askers::Asker,
    gateway::{Gateway, is_theirs},
    params::Params,
    pingbacks,
    wording::Word,
    words,
};
use deadletter::{
    Error, Reported,
    core::{Answer, Task, TaskId},
};

/// Ids that one question may name.
const IDS: usize = 100;

pub(crate) async fn answer(gateway: &Gateway, asker: &Asker, params: &Params) -> Word {
    let action = params.text("action").unwrap_or_default();
    match (action.trim(), params.text("ids")) {
        ("get", Some(ids)) => many(gateway, asker, &ids).await,
        ("get", None) => one(gateway, asker, params).await,
        ("get2", _) => match one(gateway, asker, params).await {
            Word::Answer(answer) => Word::Priced(answer),
            other => other,
        },
        ("getbalance", _) => balance(gateway),
        ("threadsinfo", _) => threads(gateway, asker).await,
        ("reportbad" | "reportgood", _) => {
            let id = params.text("id");
            let is_good = action.trim() == "reportgood";
            match digits(id.as_deref().unwrap_or_default()) {
                Ok(id) => report(gateway, asker, id, is_good).await,
                Err(word) => word,
            }
        }
        ("add_pingback", _) => pingbacks::add(gateway, asker, params).await,
        ("get_pingback", _) => pingbacks::get(gateway, asker).await,
        ("del_pingback", _) => pingbacks::delete(gateway, asker, params).await,
        _ => Word::error(words::NO_SUCH_ACTION),
    }
}

/// What is said of an answer is recorded, and passed on behind the client's back.
pub(crate) async fn report(gateway: &Gateway, asker: &Asker, id: &str, is_good: bool) -> Word {
    let task = match find(gateway, asker, id).await {
        Ok((task, _)) => task,
        // A store that failed has recorded nothing.
        Err(Word::Pending) => return Word::error(words::STORE_FAILED),
        Err(word) => return word,
    };
    match gateway.engine.desk().report(task.id, is_good).await {
        Ok(Reported::Recorded) => Word::Bare(words::RECORDED.to_owned()),
        Ok(Reported::Already) => Word::error(words::REPORTED),
        Ok(Reported::Unsolved | Reported::Full) => Word::error(words::NOT_RECORDED),
        // Purged between two looks.
        Err(Error::NoSuchTask(_)) => Word::error(words::NO_SUCH_ID),
        Err(error) => {
            gateway.engine.could_not("record a report", &error);
            Word::error(words::STORE_FAILED)
        }
    }
}

async fn one(gateway: &Gateway, asker: &Asker, params: &Params) -> Word {
    get(gateway, asker, params.text("id").as_deref().unwrap_or_default()).await
}

/// Answers joined by bars, in their order, without `OK`.
async fn many(gateway: &Gateway, asker: &Asker, ids: &str) -> Word {
    let mut answers = Vec::new();
    for id in ids.split(',') {
        if answers.len() == IDS {
            return Word::error(words::BAD_PARAMETERS);
        }
        answers.push(get(gateway, asker, id).await.in_list());
    }
    Word::Bare(answers.join("|"))
}

async fn get(gateway: &Gateway, asker: &Asker, id: &str) -> Word {
    match digits(id) {
        Ok(id) => verdict(gateway, asker, id).await.map_or_else(|word| word, |(_, word)| word),
        Err(word) => word,
    }
}

/// An id as res.php takes it: digits.
fn digits(id: &str) -> Result<&str, Word> {
    let id = id.trim();
    let is_formed = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_formed.then_some(id).ok_or_else(|| Word::error(words::WRONG_ID))
}

/// The task of that id with its answer, where it is the asker's; else what it is told.
pub(crate) async fn find(
    gateway: &Gateway,
    asker: &Asker,
    id: &str,
) -> Result<(Task, Option<Answer>), Word> {
    let id = id.parse::<TaskId>().map_err(|_| Word::error(words::NO_SUCH_ID))?;
    let found = gateway.store().told(id).await.map_err(|error| failed(gateway, &error))?;
    // Another key's id is told apart from an unknown one by nobody.
    let theirs = found.filter(|(task, _)| is_theirs(task.owner.as_deref(), asker));
    theirs.ok_or_else(|| Word::error(words::NO_SUCH_ID))
}

/// What is told of the asker's task of that id, with the task, whatever front it is asked for at.
pub(crate) async fn verdict(
    gateway: &Gateway,
    asker: &Asker,
    id: &str,
) -> Result<(Task, Word), Word> {
    let (task, answer) = find(gateway, asker, id).await?;
    let word = tell(gateway, &task, answer);
    Ok((task, word))
}

fn tell(gateway: &Gateway, task: &Task, answer: Option<Answer>) -> Word {
    if !task.kind().is_terminal() {
        return Word::Pending;
    }
    gateway.quotas.ended(task.owner.as_deref(), task.id);
    gateway.engine.note_read(task, answer.as_ref());
    if let Some(answer) = answer {
        hear(task, "answer");
        return Word::Answer(Box::new(answer));
    }
    let code = words::death(task);
    hear(task, &code);
    Word::error(code)
}

/// A client that asks again and again hears the same; an operator hears of the first time.
fn hear(task: &Task, said: &str) {
    if task.verdict_read_at.is_none() {
        tracing::info!(task = task.id.get(), said, "told");
    }
}

fn failed(gateway: &Gateway, error: &deadletter::store::Error) -> Word {
    gateway.engine.store_could_not("answer a question", error);
    // "Not ready" is the one word that no client gives up on.
    Word::Pending
}

/// The balance that upstream told last; means little where threads are paid for.
fn balance(gateway: &Gateway) -> Word {
    match gateway.balance() {
        Some(balance) => Word::Bare(balance.to_string()),
        None => Word::error(words::STORE_FAILED),
    }
}

/// Threads of the gateway itself: what it accepts, and what is open; of a key with a quota of its
/// own, that quota and its own tasks.
async fn threads(gateway: &Gateway, asker: &Asker) -> Word {
    let (capacity, open) =
        match (asker.quota.in_flight, gateway.quotas.open(asker, gateway.store()).await) {
            (Some(most), Ok(open)) => (u64::from(most), open.map_or(0, u64::from)),
            (None, Ok(_)) => (gateway.settings.capacity, gateway.load.open()),
            (_, Err(error)) => {
                gateway.engine.could_not("count a key's open tasks", &error);
                return Word::error(words::STORE_FAILED);
            }
        };
    Word::Fields(vec![("threads", capacity), ("working_threads", open.min(capacity))])
}
