//! Tasks as real callers bring them.

use deadletter_core::{
    AccountName, Answer, Attempt, AttemptToken, Cause, Class, Counters, DeadReason, Dimensions,
    NewTask, Past, Payload, Round, State, Task, TaskId, UnixMs, UpstreamId, WorkerId,
    fingerprint::fingerprint,
};
use deadletter_store::{Clock, SystemClock};
use serde_json::json;

/// Site keys among which dead letters are spread: as a busy month leaves behind.
const DEAD_SITEKEYS: u64 = 1_000;
/// Site keys among which new work is spread: as a busy hour asks for.
const SITEKEYS: u64 = 50;
/// Ids that one instant leaves room for.
const IDS_PER_MS: u64 = 1 << 12;

/// What dead letters died of.
const CAUSES: [(&str, Class, DeadReason); 5] = [
    (Cause::TIMEOUT, Class::Transient, DeadReason::AttemptsExhausted),
    ("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable, DeadReason::AttemptsExhausted),
    (Cause::NETWORK, Class::Transient, DeadReason::AttemptsExhausted),
    ("ERROR_WRONG_GOOGLEKEY", Class::Permanent, DeadReason::Permanent),
    ("ERROR_PROXY_CONNECTION_FAILED", Class::Proxy, DeadReason::Proxy),
];

/// Makes tasks with ids of their own.
#[derive(Debug)]
pub(crate) struct Samples {
    began_at: UnixMs,
    made: u64,
}

impl Samples {
    pub(crate) fn new() -> Self {
        // An hour back: the ids of a run stay behind its clock, whatever it makes in a millisecond.
        Self { began_at: SystemClock.now().plus(-3_600_000), made: 0 }
    }

    /// Tasks that are due.
    pub(crate) fn due(&mut self, n: usize) -> Vec<NewTask> {
        (0..n).map(|_| self.one(SITEKEYS)).collect()
    }

    /// Dead letters, each with its last attempt, as an import brings them.
    pub(crate) fn dead(&mut self, n: usize) -> Vec<NewTask> {
        (0..n).map(|_| self.dead_one()).collect()
    }

    fn one(&mut self, sitekeys: u64) -> NewTask {
        self.made += 1;
        let ms = i64::try_from(self.made / IDS_PER_MS).unwrap_or(0);
        let at = self.began_at.plus(ms);
        let id = TaskId::at(at, self.made % IDS_PER_MS);
        let sitekey = sitekey(self.made % sitekeys);
        // A shop has one key for its logins and one for its checkout.
        let host = format!("shop-{}.example", self.made % sitekeys / 2);
        let fields = json!({
            "method": "userrecaptcha",
            "googlekey": sitekey,
            "pageurl": format!("https://{host}/account/login?return=%2Forders%2F{}", self.made),
        });
        let task = Task {
            id,
            state: State::Queued { due_at: at, why: deadletter_core::Why::New },
            version: 1,
            account: account(),
            worker: None,
            attempt: None,
            priority: 2,
            turn: 0,
            hold: None,
            deadline_at: None,
            counters: Counters::default(),
            round: Round { allowance: 4, ..Round::default() },
            max_submits: 7,
            proxies: 0,
            cause: None,
            class: None,
            fingerprint: None,
            owner: None,
            idempotency_key: None,
            idempotency_expires_at: None,
            place: None,
            parent: None,
            answered_by: None,
            verdict_read_at: None,
            created_at: at,
            updated_at: at,
            dimensions: Dimensions {
                method: "userrecaptcha".to_owned(),
                sitekey: Some(sitekey),
                host: Some(host),
                ..Dimensions::default()
            },
        };
        let payload = Payload::new(fields.as_object().cloned().unwrap_or_default());
        NewTask { task, payload, past: Past::default(), is_folded: false }
    }

    fn dead_one(&mut self) -> NewTask {
        let mut new = self.one(DEAD_SITEKEYS);
        let (cause, class, reason) = death_of(self.made);
        let task = &mut new.task;
        task.state = State::Dead { reason };
        task.cause = Some(Cause::new(cause));
        task.class = Some(class);
        task.fingerprint = Some(fingerprint(cause, &task.dimensions.method, ""));
        task.counters = Counters { attempts: 4, submits: 4, failures: 4, ..Counters::default() };
        let mut attempt =
            Attempt::intended(token(self.made), task.id, 4, account(), worker(), task.created_at);
        attempt.closed_at = Some(task.created_at);
        attempt.cause = Some(Cause::new(cause));
        attempt.class = Some(class);
        attempt.permit = false;
        new.past.attempts.push(attempt);
        new
    }
}

/// The site key of the `n`th dead letter.
pub(crate) fn sitekey(n: u64) -> String {
    format!("6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx{:04}", n % DEAD_SITEKEYS)
}

/// What the `n`th task dies of: another cause with each turn of the site keys.
pub(crate) fn death_of(n: u64) -> (&'static str, Class, DeadReason) {
    let at = usize::try_from(n / DEAD_SITEKEYS).unwrap_or(0) % CAUSES.len();
    CAUSES.get(at).copied().unwrap_or((Cause::TIMEOUT, Class::Transient, DeadReason::Unknown))
}

/// The account of every task.
pub(crate) fn account() -> AccountName {
    AccountName::new("main").expect("a word is a name")
}

/// The worker that claims.
pub(crate) fn worker() -> WorkerId {
    WorkerId::new("bench").expect("a word is an id")
}

/// The token with that number.
pub(crate) fn token(n: u64) -> AttemptToken {
    AttemptToken::from_random(n << 1)
}

/// Upstream's name for the job of an attempt.
pub(crate) fn upstream_id(attempt: &Attempt) -> UpstreamId {
    UpstreamId::new(attempt.task.to_string()).expect("digits are an id")
}

/// An answer as long as a real reCAPTCHA token.
pub(crate) fn answer(attempt: &Attempt, now: UnixMs) -> Answer {
    let text = format!("03AGdBq2{}", "5kPvL9_xT".repeat(60));
    Answer {
        task: attempt.task,
        token: attempt.token,
        dialect: "res.php/json".to_owned(),
        raw: format!(r#"{{"status":1,"request":"{text}"}}"#).into(),
        text: text.into(),
        user_agent: None,
        solved_at: now,
        expires_at: Some(now.plus(120_000)),
        read_at: now,
    }
}
