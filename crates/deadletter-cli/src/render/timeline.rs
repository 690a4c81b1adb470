//! The time line of a task, told from its attempts.

use deadletter::core::{Attempt, Task, UnixMs, Verdict};

/// Everything that is known to have happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// The moments.
    pub(crate) moments: Vec<Moment>,
}

/// One moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at: UnixMs,
    /// What.
    pub(crate) what: String,
}

impl Timeline {
    /// Of a task and its attempts.
    pub(crate) fn of(task: &Task, attempts: &[Attempt]) -> Self {
        let mut moments = vec![Moment { at: task.created_at, what: "accepted".to_owned() }];
        for attempt in attempts {
            moments.extend(moments_of(attempt));
        }
        if task.kind().is_terminal() {
            let reason = task.reason().map_or(String::new(), |reason| format!(": {reason}"));
            moments.push(Moment { at: task.updated_at, what: format!("{}{reason}", task.kind()) });
        }
        // Stable: what has the same millisecond stays in the order of cause and effect.
        moments.sort_by_key(|moment| moment.at);
        Self { moments }
    }
}

fn moments_of(attempt: &Attempt) -> Vec<Moment> {
    let n = attempt.n;
    let mut moments = vec![Moment { at: attempt.intent_at, what: format!("submit {n}") }];
    let mut push = |at: Option<UnixMs>, what: String| {
        moments.extend(at.map(|at| Moment { at, what }));
    };
    if let Some(id) = &attempt.upstream_id {
        push(attempt.accepted_at, format!("submit {n} taken as upstream id {id}"));
    }
    let failure = match (&attempt.cause, &attempt.detail) {
        (Some(cause), Some(detail)) => format!(": {cause}, {detail}"),
        (Some(cause), None) => format!(": {cause}"),
        (None, _) => String::new(),
    };
    push(attempt.abandoned_at, format!("submit {n} waited for no longer{failure}"));
    // An abandoned attempt has told its failure already.
    let failure = if attempt.abandoned_at.is_some() { String::new() } else { failure };
    let verdict = attempt.verdict.map_or("ended", what_came);
    push(attempt.closed_at, format!("submit {n} {verdict}{failure}"));
    moments
}

const fn what_came(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Withheld => "not sent",
        Verdict::Refused => "refused",
        Verdict::InDoubt => "in doubt: it may have been taken",
        Verdict::Solved => "answered",
        Verdict::Failed => "failed",
        Verdict::TimedOut => "never answered",
        Verdict::Lost => "forgotten by upstream",
    }
}
