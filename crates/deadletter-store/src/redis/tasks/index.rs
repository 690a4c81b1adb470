//! Where a task is found but by its id: entries of sorted sets, which follow from the task alone.
//!
//! A change takes those out that followed from what stood, and puts those in that follow from what
//! will stand; what is the same in both is left alone. Only queued tasks move by themselves, from
//! waiting to ready. Dead letters have no entry in any set that a claim walks.
//!
//! Numbers within members have a fixed width, so that their order as texts is that of the numbers.

use super::bearers::Bearers;
use crate::redis::{
    apply::Apply,
    keys::{Key, Keys},
};
use deadletter_core::{
    AccountName, Attempt, AttemptToken, Lane, StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
};
use std::collections::BTreeMap;

/// Separates a name from what is behind it: no name has it.
const END: char = '\0';

/// Where an entry stands.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shelf {
    Set(Key),
    /// The tasks of an account that are claimed together: those that wait, or those that are ready.
    Queue(Lane, AccountName),
    /// Names that are put in, and never taken out with a task.
    Names(Key),
    /// Attempts that bear an upstream id.
    Bearers(AccountName, UpstreamId),
}

/// All entries of a task.
#[derive(Debug, Default)]
pub(super) struct Entries(BTreeMap<(Shelf, String), i64>);

impl Entries {
    /// What follows from a task and its attempts.
    pub(super) fn of<'a>(
        keys: &Keys,
        task: &Task,
        attempts: impl IntoIterator<Item = &'a Attempt>,
    ) -> Self {
        let mut entries = Self::default();
        entries.file_task(keys, task);
        for attempt in attempts {
            entries.file_attempt(keys, task, attempt);
        }
        entries
    }

    fn file_task(&mut self, keys: &Keys, task: &Task) {
        let (id, account, state) = (task.id, &task.account, task.kind());
        if let Some(due_at) = task.due_at() {
            if task.hold.is_none() {
                let queue = Shelf::Queue(task.lane(), account.clone());
                self.0.insert((queue, turn(task, due_at)), due_at.0);
            }
            if let Some(at) = task.deadline_at {
                self.set(keys.deadlines(account), hex_id(id), at.0);
            }
        }
        if state.is_leased() {
            let leases = keys.leases(account, name_of(task.worker.as_ref()));
            self.set(leases, hex_id(id), lease_turn(state));
            self.name(keys.holders(account), task.worker.as_ref());
        }
        let by_id = id.get().cast_signed();
        self.set(keys.state(state), id.to_string(), by_id);
        if matches!(state, StateKind::Dead | StateKind::Buried) {
            if let Some(cause) = &task.cause {
                self.set(keys.cause(state, cause), id.to_string(), by_id);
            }
            if let Some(sitekey) = &task.dimensions.sitekey {
                self.set(keys.sitekey(state, sitekey), id.to_string(), by_id);
            }
        }
        if let Some(batch) = &task.dimensions.batch {
            self.set(keys.batch(batch), id.to_string(), by_id);
        }
    }

    /// An attempt counts against its own account, wherever its task has gone.
    fn file_attempt(&mut self, keys: &Keys, task: &Task, attempt: &Attempt) {
        let (account, member) = (&attempt.account, attempt_member(attempt.task, attempt.token));
        if attempt.permit {
            let until = attempt.permit_until.map_or(i64::MAX, |until| until.0);
            self.set(keys.permits(account), member.clone(), until);
        }
        if let Some(at) = attempt.lapses_at() {
            self.set(keys.lapsing(account), member.clone(), at.0);
        }
        if let Some(id) = &attempt.upstream_id {
            let bearers = Shelf::Bearers(account.clone(), id.clone());
            self.0.insert((bearers, member), 0);
            if attempt.is_open() && task.attempt != Some(attempt.token) {
                let entry = abandoned_member(attempt.worker.as_ref(), attempt);
                self.set(keys.abandoned(account), entry, 0);
                self.name(keys.holders(account), attempt.worker.as_ref());
            }
        }
    }

    fn set(&mut self, set: Key, member: String, score: i64) {
        self.0.insert((Shelf::Set(set), member), score);
    }

    fn name(&mut self, set: Key, worker: Option<&WorkerId>) {
        self.0.insert((Shelf::Names(set), name_of(worker).to_owned()), 0);
    }

    /// Writes what has changed since `before`; `bearers` are those of all names that change.
    pub(super) fn replace(
        self,
        before: &Self,
        keys: &Keys,
        now: UnixMs,
        bearers: &mut Bearers,
        apply: &mut Apply,
    ) {
        for place in before.0.keys().filter(|place| !self.0.contains_key(place)) {
            let (shelf, member) = place;
            match shelf {
                Shelf::Set(set) => apply.remove(set.clone(), member),
                Shelf::Queue(lane, account) => {
                    apply.remove(keys.ready(*lane, account), member);
                    apply.remove(keys.waiting(*lane, account), member);
                }
                Shelf::Names(_) => {}
                Shelf::Bearers(account, id) => bearers.of(account, id).remove(member),
            }
        }
        for (place, score) in self.0 {
            if before.0.get(&place) == Some(&score) {
                continue;
            }
            match place {
                (Shelf::Set(set), member) => apply.add(set, shown(score), member),
                (Shelf::Queue(lane, account), member) if score <= now.0 => {
                    apply.add(keys.ready(lane, &account), 0, member);
                }
                (Shelf::Queue(lane, account), member) => {
                    apply.add(keys.waiting(lane, &account), shown(score), member);
                }
                (Shelf::Names(set), name) => apply.name(set, name),
                (Shelf::Bearers(account, id), member) => bearers.of(&account, &id).add(member),
            }
        }
    }
}

/// A score: what never ends is behind all that does.
fn shown(score: i64) -> String {
    if score == i64::MAX { "+inf".to_owned() } else { score.to_string() }
}

/// A number whose order as text is its own, whatever its sign.
fn hex(n: i64) -> String {
    format!("{:016x}", n.cast_unsigned() ^ (1 << 63))
}

fn unhex(digits: &str) -> Option<i64> {
    Some((u64::from_str_radix(digits, 16).ok()? ^ (1 << 63)).cast_signed())
}

/// Ids are below 2^53.
pub(in crate::redis) fn hex_id(id: TaskId) -> String {
    format!("{:014x}", id.get())
}

/// The id behind [`hex_id`].
pub(in crate::redis) fn unhex_id(digits: &str) -> Option<TaskId> {
    TaskId::try_from(u64::from_str_radix(digits, 16).ok()?).ok()
}

fn unhex_token(digits: &str) -> Option<AttemptToken> {
    Some(AttemptToken::from_random(u64::from_str_radix(digits, 16).ok()? << 1))
}

/// The order of claims: priority, turn, due time, id. Behind it, the deadline.
fn turn(task: &Task, due_at: UnixMs) -> String {
    let deadline_at = task.deadline_at.map_or(i64::MAX, |at| at.0);
    let (turn, due_at) = (hex(task.turn), hex(due_at.0));
    format!("{:02x}{turn}{due_at}{}{}", task.priority, hex_id(task.id), hex(deadline_at))
}

/// What the order of claims says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) id: TaskId,
    pub(super) due_at: UnixMs,
    deadline_at: UnixMs,
}

impl Turn {
    pub(super) fn read(member: &str) -> Option<Self> {
        Some(Self {
            due_at: UnixMs(unhex(member.get(18..34)?)?),
            id: unhex_id(member.get(34..48)?)?,
            deadline_at: UnixMs(unhex(member.get(48..)?)?),
        })
    }

    /// A task that became ready under a later `now` than this claim's is not due yet.
    pub(super) fn is_claimable(&self, now: UnixMs) -> bool {
        self.due_at <= now && self.deadline_at > now
    }
}

/// The order in which leases are taken over.
const fn lease_turn(state: StateKind) -> i64 {
    if matches!(state, StateKind::Polling) { POLLING } else { SUBMITTING }
}

/// The scores of leases of tasks in these states.
pub(super) const POLLING: i64 = 0;
pub(super) const SUBMITTING: i64 = 1;

/// A holder's name; nobody has none.
fn name_of(worker: Option<&WorkerId>) -> &str {
    worker.map_or("", WorkerId::as_str)
}

/// What begins the entries of a holder with this name.
pub(super) fn head_of(holder: &str) -> String {
    format!("{holder}{END}")
}

/// Everything that begins with `head`, as a range of texts.
pub(super) fn range_of(head: &str) -> [String; 2] {
    // Behind the head come digits alone.
    [format!("[{head}"), format!("({head}\u{7f}")]
}

/// An attempt within other members.
pub(super) fn attempt_member(task: TaskId, token: AttemptToken) -> String {
    format!("{}{token}", hex_id(task))
}

/// The attempt at the end of a member.
pub(super) fn attempt_of(member: &str) -> Option<(TaskId, AttemptToken)> {
    let (head, token) = member.split_at_checked(member.len().checked_sub(16)?)?;
    let (_, id) = head.split_at_checked(head.len().checked_sub(14)?)?;
    Some((unhex_id(id)?, unhex_token(token)?))
}

/// An abandoned attempt of a holder: oldest intent first.
pub(super) fn abandoned_member(worker: Option<&WorkerId>, attempt: &Attempt) -> String {
    let member = attempt_member(attempt.task, attempt.token);
    format!("{}{}{member}", head_of(name_of(worker)), hex(attempt.intent_at.0))
}

/// What orders an abandoned attempt among those of other holders.
pub(super) fn abandoned_order(member: &str) -> &str {
    member.rsplit_once(END).map_or("", |(_, order)| order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{Policy, State, Why};
    use proptest::prelude::*;

    fn task(n: u64) -> Task {
        let id = TaskId::try_from(n).unwrap();
        let account = AccountName::new("main").unwrap();
        Task::queued(id, account, &Policy::default(), UnixMs(5))
    }

    proptest! {
        #[test]
        fn turns_as_texts_are_in_the_order_of_claims(
            one in (0_u8..4, any::<i64>(), any::<i64>(), 0_u64..1 << 53),
            two in (0_u8..4, any::<i64>(), any::<i64>(), 0_u64..1 << 53),
        ) {
            let text = |(priority, turn_of_it, due_at, id)| {
                let task = Task { priority, turn: turn_of_it, ..task(id) };
                turn(&task, UnixMs(due_at))
            };
            prop_assert_eq!(text(one).cmp(&text(two)), one.cmp(&two));
            let read = Turn::read(&text(one)).expect("it is one");
            prop_assert_eq!((read.id.get(), read.due_at), (one.3, UnixMs(one.2)));
            prop_assert_eq!(read.is_claimable(UnixMs(0)), one.2 <= 0);
        }

        #[test]
        fn an_attempt_is_found_at_the_end_of_a_member(id in 0_u64..1 << 53, token in any::<u64>()) {
            let key = (TaskId::try_from(id).unwrap(), AttemptToken::from_random(token));
            let member = format!("u{END}{}", attempt_member(key.0, key.1));
            prop_assert_eq!(attempt_of(&member), Some(key));
        }
    }

    #[test]
    fn only_what_has_changed_is_written() {
        let keys = Keys::under("x");
        let before = task(1);
        let same = Entries::of(&keys, &before, []);
        let mut apply = Apply::default();
        let bearers = &mut Bearers::default();
        same.replace(&Entries::of(&keys, &before, []), &keys, UnixMs(9), bearers, &mut apply);
        assert!(apply.is_empty());
        let state = State::Queued { due_at: UnixMs(7), why: Why::New };
        let later = Entries::of(&keys, &Task { state, ..before.clone() }, []);
        let before = Entries::of(&keys, &before, []);
        later.replace(&before, &keys, UnixMs(9), bearers, &mut apply);
        assert!(!apply.is_empty());
    }
}
