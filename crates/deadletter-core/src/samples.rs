//! Tasks for the tests of this crate.

use crate::{
    AccountName, Answer, AttemptToken, Cause, Class, Counters, DeadReason, Dimensions, Policy,
    State, Task, TaskId, UnixMs, UpstreamId, Why,
};
use proptest::{option, prelude::*, sample::select};

/// The instant at which the sample task was accepted.
pub(crate) const THEN: UnixMs = UnixMs(1_800_000_000_000);

/// A new task: queued, version 1, four submits of seven allowed.
pub(crate) fn task() -> Task {
    let account = AccountName::new("main").expect("a valid name");
    Task {
        priority: 1,
        dimensions: Dimensions { method: "userrecaptcha".to_owned(), ..Dimensions::default() },
        ..Task::queued(TaskId::at(THEN, 0), account, &Policy::default(), THEN)
    }
}

/// An answer to it that does not expire.
pub(crate) fn answer() -> Answer {
    Answer {
        task: task().id,
        token: AttemptToken::from_random(2),
        dialect: "test".to_owned(),
        raw: "OK|token".into(),
        text: "token".into(),
        user_agent: None,
        solved_at: THEN,
        expires_at: None,
        read_at: THEN,
    }
}

/// Any state.
pub(crate) fn states() -> impl Strategy<Value = State> {
    let upstream_id = UpstreamId::new("u-1").expect("a valid id");
    prop_oneof![
        select(Why::ALL).prop_map(|why| State::Queued { due_at: THEN, why }),
        Just(State::Submitting),
        Just(State::Polling { upstream_id }),
        Just(State::Solved),
        select(DeadReason::ALL).prop_map(|reason| State::Dead { reason }),
        select(DeadReason::ALL).prop_map(|reason| State::Buried { reason }),
        Just(State::Cancelled),
    ]
}

/// A short text from few letters, so that texts often meet.
pub(crate) fn words() -> impl Strategy<Value = String> {
    "[ab,* \"\\\\é]{0,3}|nightly|6Le|:"
}

/// Rows that differ in everything that a filter looks at; not all could arise by themselves.
pub(crate) fn tasks() -> impl Strategy<Value = Task> {
    let texts = (words(), option::of(words()), option::of(words()), option::of(words()));
    let more = (option::of(words()), prop::collection::vec(words(), 0..3), option::of(words()));
    let causes = (option::of(words()), option::of(select(Class::ALL)), option::of(words()));
    let numbers = (0_u64..4, 0_u32..5, 0_u32..5, 0_u8..4, any::<bool>());
    let times = (0_i64..200_000_000, 0_i64..200_000_000);
    (states(), texts, more, causes, numbers, times).prop_map(
        |(state, texts, more, causes, numbers, times)| Task {
            id: TaskId::at(THEN, numbers.0),
            state,
            dimensions: Dimensions {
                method: texts.0,
                sitekey: texts.1,
                host: texts.2,
                proxy: texts.3,
                batch: more.0,
                tags: more.1,
            },
            owner: more.2,
            cause: causes.0.map(|text| Cause::new(&text)),
            class: causes.1,
            fingerprint: causes.2,
            counters: Counters { attempts: numbers.1, submits: numbers.2, ..Counters::default() },
            priority: numbers.3,
            hold: numbers.4.then(|| "maintenance".to_owned()),
            created_at: THEN.plus(-times.0),
            updated_at: THEN.plus(-times.1),
            ..task()
        },
    )
}
