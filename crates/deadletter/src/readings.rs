//! Which verdicts were told, noted behind whoever told them.
//!
//! Nobody waits for it: a verdict is handed over first, and noted some moments later, many at a
//! time. What is not noted yet when the process dies is lost, and its answer counts as unused.

use crate::shared::Shared;
use deadletter_core::{Answer, Reading, Task, TaskId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Noted together: a flush of the disk for so much time, however many are told.
const TOGETHER: Duration = Duration::from_millis(250);
/// Of one call to the store.
const BATCH: usize = 500;
/// That wait at a time; more are lost, as by a crash: a store that is away is no reason to grow.
const WAITING: usize = 10_000;

/// What is to be noted.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// Guards what waits, the first reading of each task; never held over an await.
    waiting: Mutex<BTreeMap<TaskId, Reading>>,
    told: Notify,
}

impl Readings {
    pub(crate) fn add(&self, reading: Reading) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING {
            waiting.entry(reading.task).or_insert(reading);
        }
        drop(waiting);
        self.told.notify_one();
    }

    fn take(&self) -> Vec<Reading> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }
}

impl Shared {
    /// Notes that the verdict of `task`, with its answer where it is solved, is told. Where no loop
    /// works, as beside a desk alone, nothing is noted.
    pub(crate) fn note_read(&self, task: &Task, answer: Option<&Answer>) {
        if let Some(reading) = Reading::of(task, answer, self.now()).filter(|_| self.is_watched()) {
            self.readings.add(reading);
        }
    }
}

/// Runs until the engine stops; what is told while it stops, `stop` notes.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let stopping = tokio::select! {
            () = shared.stopped() => true,
            () = shared.readings.told.notified() => {
                tokio::select! {
                    () = shared.stopped() => {}
                    () = tokio::time::sleep(TOGETHER) => {}
                }
                false
            }
        };
        write(&shared).await;
        if stopping {
            return;
        }
    }
}

/// Notes what waits; what the store does not take is forgotten.
pub(crate) async fn write(shared: &Shared) {
    for batch in shared.readings.take().chunks(BATCH) {
        if let Err(error) = shared.store.mark_read(batch).await {
            shared.health.store_could_not("note that verdicts were told", &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountConfig, Deadletter, Job,
        provider::scripted::{ScriptedProvider, failed},
    };
    use deadletter_core::{
        AccountName, Class, UnixMs,
        counts::{Dim, expired_unused},
    };
    use deadletter_store::{Call, FastClock, Faulty, MemoryStore, Store, faulty::Fault};

    /// So fast that a solve takes no time, and so slow that no answer expires meanwhile.
    const SPEED: f64 = 50.0;

    async fn engine(store: &Arc<dyn Store>, provider: ScriptedProvider) -> Deadletter {
        let account = AccountConfig::new(AccountName::new("main").unwrap(), Arc::new(provider));
        let builder = Deadletter::builder().store(Arc::clone(store)).account(account);
        builder.start().await.unwrap()
    }

    fn memory() -> Arc<MemoryStore> {
        Arc::new(MemoryStore::new(Arc::new(FastClock::new(UnixMs(1_800_000_000_000), SPEED))))
    }

    async fn row(store: &dyn Store, id: TaskId) -> Task {
        store.get(&[id]).await.unwrap().pop().flatten().unwrap()
    }

    /// Answers that expire unused, whenever that is.
    async fn to_expire(store: &dyn Store) -> u64 {
        let tallies = store.tallies(Dim::All, UnixMs(0), 10_000).await.unwrap();
        expired_unused(&tallies, UnixMs(0), UnixMs(i64::MAX))
    }

    #[tokio::test]
    async fn what_is_handed_over_is_noted_and_what_is_only_waited_for_is_not() {
        let store: Arc<dyn Store> = memory();
        let engine = engine(&store, ScriptedProvider::default()).await;
        let told = engine.submit(Job::new("userrecaptcha")).await.unwrap();
        let untold = engine.submit(Job::new("userrecaptcha")).await.unwrap();
        told.wait().await.unwrap();
        assert!(untold.ended().await.unwrap().verdict_read_at.is_none());
        engine.stop().await.unwrap();
        let (told, untold) = (row(&*store, told.id).await, row(&*store, untold.id).await);
        assert!(told.verdict_read_at.is_some_and(|at| at >= told.updated_at), "{told:?}");
        assert_eq!(untold.verdict_read_at, None);
        assert_eq!(to_expire(&*store).await, 1);
    }

    #[tokio::test]
    async fn a_death_that_is_told_is_noted_too() {
        let store: Arc<dyn Store> = memory();
        let refusing = ScriptedProvider::default()
            .on_submit(|_| async { Err(failed("ERROR_BAD", Class::Permanent)) });
        let engine = engine(&store, refusing).await;
        let handle = engine.submit(Job::new("userrecaptcha")).await.unwrap();
        handle.wait().await.unwrap();
        engine.stop().await.unwrap();
        assert!(row(&*store, handle.id).await.verdict_read_at.is_some());
        assert_eq!(to_expire(&*store).await, 0);
    }

    #[tokio::test]
    async fn an_answer_is_handed_over_though_nothing_can_be_noted() {
        let memory = memory();
        let faulty = Arc::new(Faulty::new(Arc::clone(&memory)));
        faulty.script(Call::MarkRead, vec![Some(Fault::Unavailable); 100]);
        let store: Arc<dyn Store> = faulty;
        let engine = engine(&store, ScriptedProvider::default()).await;
        let handle = engine.submit(Job::new("userrecaptcha")).await.unwrap();
        handle.wait().await.unwrap();
        engine.stop().await.unwrap();
        assert_eq!(row(&*memory, handle.id).await.verdict_read_at, None);
        assert_eq!(to_expire(&*memory).await, 1, "it counts as unused");
    }

    #[test]
    fn what_waits_is_the_first_reading_of_each_task_and_no_more_than_so_many() {
        let readings = Readings::default();
        let reading = |n: u64, at| Reading {
            task: TaskId::try_from(n).unwrap(),
            version: 2,
            at: UnixMs(at),
            expires_at: None,
        };
        readings.add(reading(1, 10));
        readings.add(reading(1, 20));
        for n in 2..=WAITING as u64 + 5 {
            readings.add(reading(n, 30));
        }
        let taken = readings.take();
        assert_eq!((taken.len(), taken[0].at), (WAITING, UnixMs(10)));
        assert!(readings.take().is_empty());
    }
}
