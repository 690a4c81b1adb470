//! What was brought out of a damaged store, as letters at rest: whole enough to be imported, with
//! no fewer submits counted than may have been paid for.

use deadletter::{
    TaskFile,
    core::{
        AccountName, Attempt, AttemptToken, Cause, Class, Counters, DeadReason, Dimensions,
        Payload, Policy, Round, RowChange, State, StateKind, Step, Task, TaskId, UnixMs, Verdict,
        WorkerId, fingerprint::fingerprint,
    },
};

/// The cause of a letter that died with its store.
const SALVAGED: &str = "SALVAGED";

/// The file of a task as a letter: what was under way is laid to rest, because nobody works on it
/// any more, and attempts that are lost are written down as such.
pub(crate) fn laid_to_rest(mut file: TaskFile) -> TaskFile {
    let reason = match file.task.kind() {
        StateKind::Submitting => DeadReason::InDoubt,
        _ => DeadReason::Unknown,
    };
    let at = file.task.updated_at;
    let died = RowChange::by(&file.task, &Step::Die { reason }, at, name_failure);
    if let Some(died) = died.filter(|_| !file.task.kind().is_terminal()) {
        file.task = died.after;
    }
    fill_gaps(&mut file);
    file
}

/// A letter for a request whose task's row is lost.
pub(crate) fn rebuilt(
    id: TaskId,
    payload: Payload,
    mut attempts: Vec<Attempt>,
    dimensions: Dimensions,
    (account, policy): (&AccountName, &Policy),
    now: UnixMs,
) -> TaskFile {
    // The lost row counted them without gaps: what is missing at the end cannot be known.
    for (n, attempt) in (1..).zip(&mut attempts) {
        attempt.n = n;
    }
    let at = attempts.first().map_or(now, |first| first.intent_at);
    let count = |of: fn(&Attempt) -> bool| {
        u32::try_from(attempts.iter().filter(|attempt| of(attempt)).count()).unwrap_or(u32::MAX)
    };
    let submits = count(may_be_paid);
    let mut task = Task {
        state: State::Dead { reason: DeadReason::Unknown },
        counters: Counters {
            attempts: count(|_| true),
            submits,
            failures: count(|attempt| attempt.verdict == Some(Verdict::Failed)),
            ..Counters::default()
        },
        round: Round { allowance: submits, ..Round::default() },
        max_submits: policy.max_submits.max(submits),
        dimensions,
        ..Task::queued(id, account.clone(), policy, at)
    };
    name_failure(&mut task);
    TaskFile { task, payload: Some(payload), attempts, answer: None }
}

/// A letter died of something, and of nothing that is known.
fn name_failure(task: &mut Task) {
    if task.cause.is_none() {
        task.cause = Some(Cause::new(SALVAGED));
        task.class = Some(Class::Unknown);
        task.fingerprint = Some(fingerprint(SALVAGED, &task.dimensions.method, ""));
    }
}

/// Writes down the attempts that the row counts and that are lost: as many in doubt as the counted
/// submits have room for.
fn fill_gaps(file: &mut TaskFile) {
    let TaskFile { task, attempts, .. } = file;
    let Ok(worker) = WorkerId::new("salvage") else { return };
    let known = attempts.iter().filter(|attempt| may_be_paid(attempt)).count();
    let mut unknown = (task.counters.submits as usize).saturating_sub(known);
    for n in 1..=task.counters.attempts {
        if attempts.iter().any(|attempt| attempt.n == n) {
            continue;
        }
        let is_in_doubt = unknown > 0;
        unknown = unknown.saturating_sub(1);
        let token = AttemptToken::from_random(task.id.get() << 12 | u64::from(n) << 1);
        let at = task.created_at;
        let begun = Attempt::intended(token, task.id, n, task.account.clone(), worker.clone(), at);
        attempts.push(Attempt {
            closed_at: Some(at),
            verdict: Some(if is_in_doubt { Verdict::InDoubt } else { Verdict::Withheld }),
            permit: false,
            ..begun
        });
    }
    attempts.sort_by_key(|attempt| attempt.n);
}

fn may_be_paid(attempt: &Attempt) -> bool {
    attempt.upstream_id.is_some()
        || !matches!(attempt.verdict, Some(Verdict::Refused | Verdict::Withheld))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::invariants;
    use serde_json::json;

    fn waiting() -> TaskFile {
        let id = TaskId::try_from(42_u64).expect("small");
        let account = AccountName::new("main").expect("valid");
        let task = Task::queued(id, account, &Policy::default(), UnixMs(1_000));
        let request = json!({"method": "userrecaptcha"}).as_object().expect("an object").clone();
        let payload = Some(Payload::new(request));
        TaskFile { task, payload, attempts: Vec::new(), answer: None }
    }

    #[test]
    fn what_was_under_way_is_a_sound_dead_letter() {
        let file = laid_to_rest(waiting());
        assert_eq!(file.task.kind(), StateKind::Dead);
        assert_eq!(invariants::check(&file.task, &file.attempts), []);
        let again = laid_to_rest(file.clone());
        assert_eq!(again.task.version, file.task.version, "what rests is left alone");
    }

    #[test]
    fn attempts_that_are_lost_are_counted_as_what_may_have_been_paid() {
        let mut file = waiting();
        (file.task.counters.attempts, file.task.counters.submits) = (3, 2);
        let file = laid_to_rest(file);
        let verdicts: Vec<_> = file.attempts.iter().filter_map(|attempt| attempt.verdict).collect();
        assert_eq!(verdicts, [Verdict::InDoubt, Verdict::InDoubt, Verdict::Withheld]);
        assert_eq!(invariants::check(&file.task, &file.attempts), []);
    }

    #[test]
    fn a_request_without_its_row_is_a_sound_letter_of_its_own() {
        let mut begun = waiting();
        (begun.task.counters.attempts, begun.task.counters.submits) = (2, 2);
        let attempts = laid_to_rest(begun.clone()).attempts.split_off(1);
        let (id, account) = (begun.task.id, begun.task.account.clone());
        let place = (&account, &Policy::default());
        let dimensions = Dimensions { method: "userrecaptcha".to_owned(), ..begun.task.dimensions };
        let payload = begun.payload.expect("it has one");
        let file = rebuilt(id, payload, attempts, dimensions, place, UnixMs(9));
        assert_eq!((file.task.counters.submits, file.task.created_at), (1, UnixMs(1_000)));
        assert_eq!(invariants::check(&file.task, &file.attempts), []);
    }
}
