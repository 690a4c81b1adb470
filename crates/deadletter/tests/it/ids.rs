//! Upstream ids that are not unique: one token never goes to two tasks.

use crate::rig::{account, all_solved, engine, jobs, memory, sound, submit};
use deadletter::{
    core::{Cause, Verdict},
    provider::{
        Polled,
        scripted::{ScriptedProvider, answer, id},
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// The id that upstream gives to its first two jobs.
const TWICE: u64 = 7;

#[tokio::test]
async fn an_id_that_upstream_gives_to_two_live_jobs_answers_the_first_alone() {
    let provider = ScriptedProvider::default()
        .on_submit(|call| async move { Ok(id(if call.n <= 2 { TWICE } else { call.n + TWICE })) });
    let submits = provider.submits();
    let provider = provider.on_poll(move |call| {
        // Both of the first jobs are alive until something else was submitted.
        let is_ready = *submits.borrow() > 2;
        async move {
            Ok(if is_ready { answer(&format!("answer-{}", call.id)) } else { Polled::NotReady })
        }
    });
    let store = memory();
    let engine = engine(&store, account(Arc::new(provider))).await;
    let ids = submit(&engine, jobs(2)).await;
    all_solved(&engine, &ids).await;
    sound(store.as_ref(), &ids).await;
    let mut answers = BTreeSet::new();
    let mut doubts = Vec::new();
    for id in ids {
        let file = engine.desk().open(id).await.unwrap();
        answers.insert(file.answer.unwrap().expose().to_owned());
        doubts.extend(file.attempts.into_iter().filter(|a| a.verdict == Some(Verdict::InDoubt)));
    }
    let three = format!("answer-{}", 3 + TWICE);
    assert_eq!(answers, BTreeSet::from([format!("answer-{TWICE}"), three]));
    let [doubt] = doubts.as_slice() else { panic!("one attempt is in doubt: {doubts:?}") };
    assert_eq!(doubt.cause, Some(Cause::new(Cause::ID_NOT_UNIQUE)));
    assert_eq!(doubt.upstream_id, None, "so nobody asks for it");
    engine.stop().await.unwrap();
}
