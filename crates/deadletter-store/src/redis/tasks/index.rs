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
    AccountName, Attempt, AttemptToken, Cause, Lane, StateKind, Task, TaskId, UnixMs, UpstreamId,
    WorkerId,
};
use std::fmt::{self, Write as _};

/// Separates a name from what is behind it: no name has it.
const END: char = '\0';

/// Where an entry stands. Its key is made where an entry is written: most stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shelf<'t> {
    /// Tasks that are claimed together: those that wait, or those that are ready.
    Queue(Lane, &'t AccountName),
    Deadlines(&'t AccountName),
    /// Of a holder.
    Leases(&'t AccountName, &'t str),
    /// Names that are put in, and never taken out with a task.
    Holders(&'t AccountName),
    /// Leased tasks stand under one of their states.
    State(StateKind),
    Cause(StateKind, &'t Cause),
    Sitekey(StateKind, &'t str),
    Batch(&'t str),
    Permits(&'t AccountName),
    Lapsing(&'t AccountName),
    Abandoned(&'t AccountName),
    /// Attempts that bear an upstream id.
    Bearers(&'t AccountName, &'t UpstreamId),
}

/// What stands there; its text is made where it is written, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member<'t> {
    /// See [`Turn`].
    Turn {
        priority: u8,
        turn: i64,
        due_at: UnixMs,
        id: TaskId,
        deadline_at: UnixMs,
    },
    Id(TaskId),
    HexId(TaskId),
    Attempt(TaskId, AttemptToken),
    Abandoned {
        holder: &'t str,
        intent_at: UnixMs,
        id: TaskId,
        token: AttemptToken,
    },
    Name(&'t str),
}

/// All entries of a task, with their scores: few enough to look through.
#[derive(Debug, Default)]
pub(super) struct Entries<'t>(Vec<(Shelf<'t>, Member<'t>, i64)>);

impl<'t> Entries<'t> {
    /// What follows from a task and its attempts.
    pub(super) fn of(task: &'t Task, attempts: impl IntoIterator<Item = &'t Attempt>) -> Self {
        let mut entries = Self::default();
        entries.file_task(task);
        for attempt in attempts {
            entries.file_attempt(task, attempt);
        }
        entries
    }

    fn file_task(&mut self, task: &'t Task) {
        let (id, account, state) = (task.id, &task.account, task.kind());
        if let Some(due_at) = task.due_at() {
            if task.hold.is_none() {
                self.put(Shelf::Queue(task.lane(), account), turn_of(task, due_at), due_at.0);
            }
            if let Some(at) = task.deadline_at {
                self.put(Shelf::Deadlines(account), Member::HexId(id), at.0);
            }
        }
        let by_id = id.as_i64();
        if state.is_leased() {
            let holder = name_of(task.worker.as_ref());
            self.put(Shelf::Leases(account, holder), Member::HexId(id), lease_turn(state));
            self.put(Shelf::Holders(account), Member::Name(holder), 0);
            self.put(Shelf::State(StateKind::Polling), Member::Id(id), by_id);
        } else {
            self.put(Shelf::State(state), Member::Id(id), by_id);
        }
        if matches!(state, StateKind::Dead | StateKind::Buried) {
            if let Some(cause) = &task.cause {
                self.put(Shelf::Cause(state, cause), Member::Id(id), by_id);
            }
            if let Some(sitekey) = &task.dimensions.sitekey {
                self.put(Shelf::Sitekey(state, sitekey), Member::Id(id), by_id);
            }
        }
        if let Some(batch) = &task.dimensions.batch {
            self.put(Shelf::Batch(batch), Member::Id(id), by_id);
        }
    }

    /// An attempt counts against its own account, wherever its task has gone.
    fn file_attempt(&mut self, task: &Task, attempt: &'t Attempt) {
        let (account, member) = (&attempt.account, Member::Attempt(attempt.task, attempt.token));
        if attempt.permit {
            let until = attempt.permit_until.map_or(i64::MAX, |until| until.0);
            self.put(Shelf::Permits(account), member, until);
        }
        if let Some(at) = attempt.lapses_at() {
            self.put(Shelf::Lapsing(account), member, at.0);
        }
        if let Some(id) = &attempt.upstream_id {
            self.put(Shelf::Bearers(account, id), member, 0);
            if attempt.is_open() && task.attempt != Some(attempt.token) {
                let holder = name_of(attempt.worker.as_ref());
                let Attempt { task: id, token, intent_at, .. } = *attempt;
                let entry = Member::Abandoned { holder, intent_at, id, token };
                self.put(Shelf::Abandoned(account), entry, 0);
                self.put(Shelf::Holders(account), Member::Name(holder), 0);
            }
        }
    }

    fn put(&mut self, shelf: Shelf<'t>, member: Member<'t>, score: i64) {
        self.0.push((shelf, member, score));
    }

    fn score(&self, shelf: Shelf<'_>, member: Member<'_>) -> Option<i64> {
        let found = self.0.iter().find(|(here, it, _)| *here == shelf && *it == member);
        found.map(|(.., score)| *score)
    }

    /// Writes what has changed since `before`; `bearers` are those of all names that change.
    pub(super) fn replace(
        &self,
        before: &Entries<'_>,
        keys: &Keys,
        now: UnixMs,
        bearers: &mut Bearers,
        apply: &mut Apply,
    ) {
        for &(shelf, member, _) in &before.0 {
            if self.score(shelf, member).is_none() {
                shelf.take(member, keys, bearers, apply);
            }
        }
        for &(shelf, member, score) in &self.0 {
            if before.score(shelf, member) != Some(score) {
                shelf.put(member, score, now, keys, bearers, apply);
            }
        }
    }
}

impl Shelf<'_> {
    /// The sorted set that it is, if it is one.
    fn set(self, keys: &Keys) -> Option<Key> {
        Some(match self {
            Self::Deadlines(account) => keys.deadlines(account),
            Self::Leases(account, holder) => keys.leases(account, holder),
            Self::State(state) => keys.state(state),
            Self::Cause(state, cause) => keys.cause(state, cause),
            Self::Sitekey(state, sitekey) => keys.sitekey(state, sitekey),
            Self::Batch(batch) => keys.batch(batch),
            Self::Permits(account) => keys.permits(account),
            Self::Lapsing(account) => keys.lapsing(account),
            Self::Abandoned(account) => keys.abandoned(account),
            Self::Queue(..) | Self::Holders(_) | Self::Bearers(..) => return None,
        })
    }

    fn take(self, member: Member<'_>, keys: &Keys, bearers: &mut Bearers, apply: &mut Apply) {
        match self {
            Self::Queue(lane, account) => {
                apply.remove(keys.ready(lane, account), member.text());
                apply.remove(keys.waiting(lane, account), member.text());
            }
            Self::Holders(_) => {}
            Self::Bearers(account, id) => bearers.of(account, id).remove(&member.text()),
            _ => {
                if let Some(set) = self.set(keys) {
                    apply.remove(set, member.text());
                }
            }
        }
    }

    fn put(
        self,
        member: Member<'_>,
        score: i64,
        now: UnixMs,
        keys: &Keys,
        bearers: &mut Bearers,
        apply: &mut Apply,
    ) {
        match self {
            Self::Queue(lane, account) if score <= now.0 => {
                apply.add(keys.ready(lane, account), 0, member.text());
            }
            Self::Queue(lane, account) => {
                apply.add(keys.waiting(lane, account), shown(score), member.text());
            }
            Self::Holders(account) => apply.name(keys.holders(account), member.text()),
            Self::Bearers(account, id) => bearers.of(account, id).add(member.text()),
            _ => {
                if let Some(set) = self.set(keys) {
                    apply.add(set, shown(score), member.text());
                }
            }
        }
    }
}

impl Member<'_> {
    /// Most are shorter.
    const ROOM: usize = 72;

    fn text(self) -> String {
        let mut text = String::with_capacity(Self::ROOM);
        write!(text, "{self}").expect("a text takes whatever is written");
        text
    }
}

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Turn { priority, turn, due_at, id, deadline_at } => {
                let (turn, due_at) = (Hex(turn), Hex(due_at.0));
                write!(f, "{priority:02x}{turn}{due_at}{}{}", HexId(id), Hex(deadline_at.0))
            }
            Self::Id(id) => id.fmt(f),
            Self::HexId(id) => HexId(id).fmt(f),
            Self::Attempt(id, token) => write!(f, "{}{token}", HexId(id)),
            Self::Abandoned { holder, intent_at, id, token } => {
                let order = Hex(intent_at.0);
                write!(f, "{holder}{END}{order}{}{token}", HexId(id))
            }
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A score: what never ends is behind all that does.
fn shown(score: i64) -> String {
    if score == i64::MAX { "+inf".to_owned() } else { score.to_string() }
}

/// A number whose order as text is its own, whatever its sign.
struct Hex(i64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.cast_unsigned() ^ (1 << 63))
    }
}

fn unhex(digits: &str) -> Option<i64> {
    Some((u64::from_str_radix(digits, 16).ok()? ^ (1 << 63)).cast_signed())
}

/// Ids are below 2^53.
struct HexId(TaskId);

impl fmt::Display for HexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}", self.0.get())
    }
}

/// The id behind [`HexId`].
pub(in crate::redis) fn unhex_id(digits: &str) -> Option<TaskId> {
    TaskId::try_from(u64::from_str_radix(digits, 16).ok()?).ok()
}

fn unhex_token(digits: &str) -> Option<AttemptToken> {
    Some(AttemptToken::from_random(u64::from_str_radix(digits, 16).ok()? << 1))
}

/// The order of claims: priority, turn, due time, id. Behind it, the deadline.
fn turn_of(task: &Task, due_at: UnixMs) -> Member<'static> {
    let Task { id, priority, turn, deadline_at, .. } = *task;
    let deadline_at = deadline_at.unwrap_or(UnixMs(i64::MAX));
    Member::Turn { priority, turn, due_at, id, deadline_at }
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
    Member::Attempt(task, token).text()
}

/// The attempt at the end of a member.
pub(super) fn attempt_of(member: &str) -> Option<(TaskId, AttemptToken)> {
    let (head, token) = member.split_at_checked(member.len().checked_sub(16)?)?;
    let (_, id) = head.split_at_checked(head.len().checked_sub(14)?)?;
    Some((unhex_id(id)?, unhex_token(token)?))
}

/// An abandoned attempt of a holder: oldest intent first.
pub(super) fn abandoned_member(worker: Option<&WorkerId>, attempt: &Attempt) -> String {
    let Attempt { task: id, token, intent_at, .. } = *attempt;
    Member::Abandoned { holder: name_of(worker), intent_at, id, token }.text()
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
                turn_of(&task, UnixMs(due_at)).text()
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
        let same = Entries::of(&before, []);
        let mut apply = Apply::default();
        let bearers = &mut Bearers::default();
        same.replace(&Entries::of(&before, []), &keys, UnixMs(9), bearers, &mut apply);
        assert!(apply.is_empty());
        let state = State::Queued { due_at: UnixMs(7), why: Why::New };
        let later = Task { state, ..before.clone() };
        let before = Entries::of(&before, []);
        Entries::of(&later, []).replace(&before, &keys, UnixMs(9), bearers, &mut apply);
        assert!(!apply.is_empty());
    }
}
