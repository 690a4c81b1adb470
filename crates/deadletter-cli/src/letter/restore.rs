//! A letter from a file as a task of this store: at rest, with what it has spent.

use super::{Incoming, article::Entry, ours::Letter};
use deadletter::{
    core::{
        AccountName, Attempt, AttemptToken, Counters, Dimensions, Failure, Filter, NewTask, Past,
        Payload, Policy, Round, RowChange, State, StateKind, Step, Task, TaskId, TooLarge, UnixMs,
        Verdict, Why, WorkerId, fingerprint::fingerprint,
    },
    provider::{Provider, clean::Cleaner},
};

/// Keeps a letter from being claimed between its insert and its rest.
pub(crate) const HOLD: &str = "import";
/// Why a letter can be read, and never be a task again.
pub(crate) const REQUEST_LOST: &str =
    "its request was lost with the store that had it: nothing of it could be submitted";
/// Keeps a letter whose secrets are masked from being sent as it stands.
const HOLD_MASKED: &str = "masked";
/// An article's entry counts its submits and keeps none; so many are written down one by one.
const SUBMITS_LIMIT: u32 = 100;

/// What letters are restored into.
pub(crate) struct Restorer<'a> {
    /// The account that a redrive will submit to.
    pub(crate) account: AccountName,
    /// Its rules.
    pub(crate) policy: &'a Policy,
    /// Its provider: for what a request is counted by.
    pub(crate) provider: &'a dyn Provider,
    /// Takes the key out of the article's error texts.
    pub(crate) cleaner: &'a Cleaner,
}

/// A letter that can be inserted.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    /// The task as it will rest.
    pub(crate) rests: Task,
    /// What it asks for.
    pub(crate) payload: Payload,
    /// Its history.
    pub(crate) attempts: Vec<Attempt>,
    /// True where secrets are missing from it.
    pub(crate) is_masked: bool,
}

impl Restorer<'_> {
    /// The task of `incoming`, under the id `spare` where it brings none; none where it is not at
    /// rest: whatever works on it elsewhere goes on doing so.
    pub(crate) fn restore(&self, incoming: Incoming, spare: TaskId) -> Option<Restored> {
        match incoming {
            Incoming::Ours(letter) => self.ours(*letter),
            Incoming::Article(entry) => Some(self.article(&entry, spare)),
        }
    }

    /// Why `incoming` cannot be a task of this store, if it cannot.
    pub(crate) fn refuse(&self, incoming: &Incoming) -> Result<(), String> {
        if incoming.is_without_request() {
            return Err(REQUEST_LOST.to_owned());
        }
        // Any id: nothing is inserted.
        let restored = self.restore(incoming.clone(), TaskId::at(UnixMs(0), 0));
        let new = restored.map(|restored| restored.to_insert()).transpose();
        new.map(drop).map_err(|error| error.to_string())
    }

    fn ours(&self, letter: Letter) -> Option<Restored> {
        let Letter { mut task, request, masked, mut attempts, answer: _ } = letter;
        if !matches!(task.kind(), StateKind::Dead | StateKind::Buried | StateKind::Cancelled) {
            return None;
        }
        let key = format!("import:{}:{}", task.id, task.created_at.0);
        task.idempotency_key.get_or_insert(key);
        task.account = self.account.clone();
        (task.worker, task.attempt, task.deadline_at, task.answered_by) = (None, None, None, None);
        // Whoever asked for it was told by the store that it comes from.
        task.place = None;
        if !masked.is_empty() {
            task.hold = Some(HOLD_MASKED.to_owned());
        }
        for attempt in &mut attempts {
            attempt.account = self.account.clone();
            attempt.closed_at.get_or_insert(task.updated_at);
            (attempt.permit, attempt.permit_until) = (false, None);
        }
        let payload = Payload::new(request.unwrap_or_default());
        Some(Restored { rests: task, payload, attempts, is_masked: !masked.is_empty() })
    }

    fn article(&self, entry: &Entry, id: TaskId) -> Restored {
        let payload = Payload::new(entry.request.clone());
        let submits = entry.attempts.min(SUBMITS_LIMIT);
        let failure = Failure::new(entry.cause.as_str(), entry.class)
            .with_detail(self.cleaner.clean(&entry.error));
        let mut dimensions: Dimensions = self.provider.dimensions(&payload);
        dimensions.tags = vec!["imported".to_owned()];
        let reason = entry.reason;
        let is_spent = submits >= self.policy.max_submits;
        let rests = Task {
            state: if is_spent { State::Buried { reason } } else { State::Dead { reason } },
            counters: Counters {
                attempts: submits,
                submits,
                failures: submits,
                ..Counters::default()
            },
            round: Round { allowance: submits, failures: submits, ..Round::default() },
            max_submits: self.policy.max_submits.max(submits),
            cause: Some(entry.cause.clone()),
            class: Some(entry.class),
            fingerprint: Some(fingerprint(
                entry.cause.as_str(),
                &dimensions.method,
                &failure.detail,
            )),
            idempotency_key: Some(key_of(entry)),
            dimensions,
            ..Task::queued(id, self.account.clone(), self.policy, entry.died_at)
        };
        let attempts = self.attempts(&rests, &failure);
        Restored { rests, payload, attempts, is_masked: false }
    }

    /// The submits that an entry counts; of all but the last nothing but the number is known.
    fn attempts(&self, task: &Task, failure: &Failure) -> Vec<Attempt> {
        let Ok(worker) = WorkerId::new("import") else { return Vec::new() };
        let last = task.counters.attempts;
        let attempts = (1..=last).map(|n| {
            let token = AttemptToken::from_random(task.id.get() << 12 | u64::from(n) << 1);
            let at = task.created_at;
            let account = self.account.clone();
            let known = (n == last).then_some(failure);
            Attempt {
                closed_at: Some(at),
                verdict: Some(Verdict::Failed),
                cause: known.map(|failure| failure.cause.clone()),
                class: known.map(|failure| failure.class),
                detail: known.map(|failure| failure.detail.clone()),
                permit: false,
                ..Attempt::intended(token, task.id, n, account, worker.clone(), at)
            }
        });
        attempts.collect()
    }
}

impl Restored {
    /// Holds a dead letter that one of these filters chooses, as what is taken in is held.
    pub(crate) fn hold_where(&mut self, filters: &[Filter], now: UnixMs) {
        let rests = &mut self.rests;
        let can_be_held = rests.kind() == StateKind::Dead && rests.hold.is_none();
        if can_be_held && filters.iter().any(|filter| filter.matches(rests, now)) {
            rests.hold = Some(Task::HELD_BY_HAND.to_owned());
        }
    }

    /// The same letter under another id: its own is taken by another task.
    pub(crate) fn with_id(mut self, id: TaskId) -> Self {
        self.rests.id = id;
        for attempt in &mut self.attempts {
            attempt.task = id;
        }
        self
    }

    /// What is inserted: a queued task that nobody may claim.
    ///
    /// Errors: it is larger than any task may be.
    pub(crate) fn to_insert(&self) -> Result<NewTask, TooLarge> {
        // As long as it is queued, there is a submit to wait for; its own numbers come with its rest.
        let allowance = self.rests.counters.submits.saturating_add(1);
        let task = Task {
            round: Round { allowance, ..self.rests.round },
            max_submits: self.rests.max_submits.max(allowance),
            // Never due, even if somebody should release the hold.
            state: State::Queued { due_at: UnixMs(i64::MAX), why: Why::New },
            version: 1,
            hold: Some(HOLD.to_owned()),
            ..self.rests.clone()
        };
        let new = NewTask::new(task, self.payload.clone())?;
        let past = Past { attempts: self.attempts.clone(), ..Past::default() };
        Ok(NewTask { past, ..new })
    }

    /// The step from the inserted row to its rest; none where the row has moved on.
    pub(crate) fn to_rest(&self, inserted: &Task) -> Option<RowChange> {
        let reason = self.rests.reason();
        let step = match (self.rests.kind(), reason) {
            (StateKind::Dead, Some(reason)) => Step::Die { reason },
            (StateKind::Buried, Some(reason)) => Step::Bury { reason },
            _ => Step::Cancel,
        };
        let at = self.rests.updated_at;
        RowChange::by(inserted, &step, at, |after| {
            after.hold = self.rests.hold.clone();
            (after.round, after.max_submits) = (self.rests.round, self.rests.max_submits);
        })
    }
}

/// An entry is one letter, however often its file is imported; two equal ones in one list are two.
fn key_of(entry: &Entry) -> String {
    format!("{}{}", entry.mark().prefix(), entry.nth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::from_article;
    use deadletter::provider::captchaai::{CaptchaAi, Settings};
    use serde_json::json;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn restored(entry: &serde_json::Value) -> Restored {
        restore(Incoming::Article(Box::new(from_article(entry).expect("an entry"))))
    }

    fn restore(incoming: Incoming) -> Restored {
        let provider = CaptchaAi::new(Settings::new(KEY.into())).expect("valid");
        let cleaner = Cleaner::new(&KEY.into());
        let policy = Policy::default();
        let account = AccountName::new("main").expect("valid");
        let restorer =
            Restorer { account, policy: &policy, provider: &provider, cleaner: &cleaner };
        let spare = TaskId::try_from(42_u64).expect("small");
        restorer.restore(incoming, spare).expect("at rest")
    }

    #[test]
    fn an_entry_is_a_dead_letter_without_the_key_in_its_error() {
        let url = format!("https://x/res.php?key={KEY}&id=7 timed out");
        let restored = restored(&json!({"sitekey": "6Le", "page_url": "https://a.example/x",
            "error": url, "attempts": 4, "timestamp": 1_800_000_000}));
        assert_eq!(restored.rests.kind(), StateKind::Dead);
        assert_eq!(restored.rests.dimensions.host.as_deref(), Some("a.example"));
        let text = serde_json::to_string(&(&restored.rests, &restored.attempts)).expect("JSON");
        assert!(!text.contains(KEY) && text.contains("timed out"), "{text}");
        let numbers: Vec<_> = restored.attempts.iter().map(|attempt| attempt.n).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }

    #[test]
    fn an_imported_letter_is_told_to_nobody() {
        let told = restored(&json!({"sitekey": "6Le", "page_url": "https://a.example",
            "error": "x", "attempts": 1, "timestamp": 1_800_000_000}));
        let task = Task { place: Some("a.example:443".to_owned()), ..told.rests };
        let letter = Letter {
            task,
            request: Some(told.payload.expose().clone()),
            masked: Vec::new(),
            attempts: told.attempts,
            answer: None,
        };
        let again = restore(Incoming::Ours(Box::new(letter)));
        assert_eq!((again.rests.kind(), again.rests.place), (StateKind::Dead, None));
    }

    #[test]
    fn what_has_spent_all_its_submits_is_buried() {
        let entry = |attempts: u32| {
            json!({"sitekey": "6Le", "page_url": "https://a.example",
            "error": "x", "attempts": attempts, "timestamp": 1_800_000_000})
        };
        assert_eq!(restored(&entry(6)).rests.kind(), StateKind::Dead);
        assert_eq!(restored(&entry(7)).rests.kind(), StateKind::Buried);
        assert_eq!(restored(&entry(9)).rests.max_submits, 9);
    }

    #[test]
    fn the_step_to_rest_begins_at_a_row_that_nobody_may_claim() {
        let restored = restored(&json!({"sitekey": "6Le", "page_url": "https://a.example",
            "error": "x", "attempts": 1, "timestamp": 1_800_000_000}));
        let inserted = restored.to_insert().expect("small").task;
        assert_eq!(inserted.hold.as_deref(), Some(HOLD));
        let row = restored.to_rest(&inserted).expect("the step exists");
        assert_eq!(row.after.kind(), StateKind::Dead);
        assert_eq!((row.after.hold, row.after.updated_at), (None, restored.rests.updated_at));
    }
}
