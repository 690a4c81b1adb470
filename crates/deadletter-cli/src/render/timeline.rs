//! The time line of a task: its attempts, its events, and the operations that chose it.

use deadletter::{
    Act, Operation,
    core::{Attempt, DeadReason, Event, ItemState, StateKind, Task, UnixMs, Verdict},
};
use serde::Serialize;

/// Everything that is known to have happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// The moments.
    pub(crate) moments: Vec<Moment>,
}

/// One moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at: UnixMs,
    /// What.
    pub(crate) what: String,
}

/// What is on record of a task beside its attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Its events, in their order.
    pub(crate) events: Vec<Event>,
    /// The operations that chose it, and what became of it there.
    pub(crate) operations: Vec<(Operation, ItemState)>,
}

impl Timeline {
    /// Of a task, its attempts and what else is on record of it.
    pub(crate) fn of(task: &Task, attempts: &[Attempt], record: &Record) -> Self {
        let mut moments = vec![Moment { at: task.created_at, what: "accepted".to_owned() }];
        // Where two have the same millisecond, an operation comes before what it leads to, and an
        // attempt's end before the event that follows from it: the sort is stable.
        moments.extend(record.operations.iter().map(chosen));
        for attempt in attempts {
            moments.extend(moments_of(attempt));
        }
        moments.extend(turns(&record.events, attempts));
        if task.kind().is_terminal() && record.events.is_empty() {
            let reason = task.reason().map_or(String::new(), |reason| format!(": {reason}"));
            moments.push(Moment { at: task.updated_at, what: format!("{}{reason}", task.kind()) });
        }
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
        push(attempt.resumed_at, format!("upstream id {id} of submit {n} asked for again"));
    }
    let failure = match (&attempt.cause, &attempt.detail) {
        (Some(cause), Some(detail)) if detail.starts_with(cause.as_str()) => format!(": {detail}"),
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

/// Each entry into a terminal state; what a person did there shows by what stood before.
fn turns(events: &[Event], attempts: &[Attempt]) -> Vec<Moment> {
    let mut before: Option<&Event> = None;
    let mut moments = Vec::with_capacity(events.len());
    for event in events {
        let what = match event.state {
            StateKind::Solved => solved(event, attempts),
            StateKind::Dead if before.is_some_and(|it| it.state == StateKind::Buried) => {
                "exhumed: a dead letter again".to_owned()
            }
            StateKind::Dead => format!("died: {}", why(event)),
            StateKind::Buried if is_by_hand(event, before, attempts) => "buried by hand".to_owned(),
            StateKind::Buried => format!("buried, all submits spent: {}", why(event)),
            other => other.label().to_owned(),
        };
        moments.push(Moment { at: event.at, what });
        before = Some(event);
    }
    moments
}

fn why(event: &Event) -> String {
    let reason = event.reason.map_or("no reason", DeadReason::label);
    event.cause.as_ref().map_or(reason.to_owned(), |cause| format!("{reason} ({cause})"))
}

fn solved(event: &Event, attempts: &[Attempt]) -> String {
    let winner = attempts.iter().find(|attempt| Some(attempt.token) == event.answered_by);
    match winner {
        Some(attempt) if attempt.abandoned_at.is_some() => {
            format!("solved: submit {} answered late, and won", attempt.n)
        }
        Some(attempt) => format!("solved by submit {}", attempt.n),
        None => "solved".to_owned(),
    }
}

/// True where a dead letter was buried without another attempt.
fn is_by_hand(event: &Event, before: Option<&Event>, attempts: &[Attempt]) -> bool {
    let Some(before) = before.filter(|before| before.state == StateKind::Dead) else {
        return false;
    };
    let since = |at: Option<UnixMs>| at.is_some_and(|at| at >= before.at && at <= event.at);
    let was_tried = attempts.iter().any(|it| since(Some(it.intent_at)) || since(it.resumed_at));
    before.reason == event.reason && !was_tried
}

fn chosen((operation, became): &(Operation, ItemState)) -> Moment {
    let (id, by) = (&operation.id, &operation.options.by);
    let because = operation.options.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let what = match became {
        ItemState::Done => format!("{} by operation {id} ({by}){because}", done(operation.act)),
        ItemState::Skipped => format!("operation {id} ({by}) left it out{because}"),
        ItemState::Pending => format!("operation {id} ({by}) chose it{because}"),
    };
    Moment { at: operation.created_at, what }
}

const fn done(act: Act) -> &'static str {
    match act {
        Act::Redrive => "redriven",
        Act::Bury => "buried",
        Act::Exhume { .. } => "exhumed",
        Act::Cancel => "cancelled",
        Act::Hold => "held",
        Act::Release => "released",
        Act::Purge => "purged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::{AttemptToken, Cause, TaskId};

    fn event(at: i64, state: StateKind, reason: Option<DeadReason>) -> Event {
        let task = TaskId::try_from(7_u64).expect("small");
        let cause = reason.map(|_| Cause::new(Cause::TIMEOUT));
        Event { task, at: UnixMs(at), state, reason, cause, answered_by: None }
    }

    fn told(events: &[Event], attempts: &[Attempt]) -> Vec<String> {
        turns(events, attempts).into_iter().map(|moment| moment.what).collect()
    }

    #[test]
    fn what_a_person_did_shows_in_the_order_of_events() {
        let spent = Some(DeadReason::AttemptsExhausted);
        let events = [
            event(1, StateKind::Dead, spent),
            event(2, StateKind::Buried, spent),
            event(3, StateKind::Dead, spent),
            event(4, StateKind::Cancelled, None),
        ];
        let died = "died: attempts_exhausted (TIMEOUT)";
        let wanted = [died, "buried by hand", "exhumed: a dead letter again", "cancelled"];
        assert_eq!(told(&events, &[]), wanted);
    }

    #[test]
    fn a_burial_that_a_failure_led_to_is_not_by_hand_and_a_late_answer_is_told() {
        let token = AttemptToken::from_random(2);
        let task = TaskId::try_from(7_u64).expect("small");
        let account = deadletter::core::AccountName::new("main").expect("valid");
        let worker = deadletter::core::WorkerId::new("w").expect("valid");
        let mut attempt = Attempt::intended(token, task, 5, account, worker, UnixMs(2));
        attempt.abandoned_at = Some(UnixMs(3));
        let spent = Some(DeadReason::AttemptsExhausted);
        let solved = Event { answered_by: Some(token), ..event(9, StateKind::Solved, None) };
        let events = [event(1, StateKind::Dead, spent), event(3, StateKind::Buried, spent), solved];
        let wanted = [
            "died: attempts_exhausted (TIMEOUT)",
            "buried, all submits spent: attempts_exhausted (TIMEOUT)",
            "solved: submit 5 answered late, and won",
        ];
        assert_eq!(told(&events, &[attempt]), wanted);
    }
}
