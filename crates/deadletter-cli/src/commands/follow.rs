//! Follows an operation of redrives until the tasks that it brought back have their verdicts.

use super::{answers::Answers, run::Progress, spent::Spent};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    signals::Signals,
    work,
};
use deadletter::{
    Deadletter, Notice, OperationState,
    core::{Counters, OperationId, StateKind, Task, TaskId},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::MissedTickBehavior,
};

/// The operation is looked at, and the bar drawn, this often.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Tasks looked at in one go.
const PAGE: usize = 500;

/// What had been spent on each task of a plan before its operation began.
pub(super) type Before = HashMap<TaskId, Counters>;

/// Looks at the tasks of a plan while nothing is redriven yet: what was redriven is told by it.
pub(super) async fn before(engine: &Deadletter, ids: &[TaskId]) -> Result<Before> {
    let mut before = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(PAGE) {
        let tasks = engine.store().get(ids).await.map_err(crate::shelf::fault)?;
        before.extend(tasks.into_iter().flatten().map(|task| (task.id, task.counters)));
    }
    Ok(before)
}

/// Follows an operation until the tasks that it redrove are settled.
pub(super) struct Follow<'a> {
    app: &'a App,
    engine: &'a Deadletter,
    id: &'a OperationId,
    /// Tasks that the plan chose and that have had no verdict since.
    open: Before,
    answers: Option<&'a mut Answers>,
    pub(super) progress: Progress,
    /// Verdicts so far, by state.
    pub(super) verdicts: BTreeMap<StateKind, u64>,
}

impl<'a> Follow<'a> {
    pub(super) fn begin(
        app: &'a App,
        engine: &'a Deadletter,
        id: &'a OperationId,
        open: Before,
        answers: Option<&'a mut Answers>,
    ) -> Self {
        let progress = Progress::begin(app, open.len());
        Self { app, engine, id, open, answers, progress, verdicts: BTreeMap::new() }
    }

    /// Follows it to its end; `Interrupted` where a signal comes first.
    pub(super) async fn until_over(
        &mut self,
        notices: &mut Receiver<Notice>,
        signals: &mut Signals,
    ) -> Result<Exit> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(notice) => self.hear(&notice).await?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(Exit::Failed),
                },
                _ = ticks.tick() => {
                    if let Some(exit) = self.look().await? {
                        return Ok(exit);
                    }
                }
                () = signals.next() => return Ok(Exit::Interrupted),
            }
        }
    }

    async fn hear(&mut self, notice: &Notice) -> Result<()> {
        match notice {
            Notice::Event(event) if self.open.contains_key(&event.task) => {
                self.settle(&[event.task]).await?;
            }
            Notice::Waiting(task) if self.open.contains_key(&task.id) => self.progress.waits(task),
            Notice::AccountStopped { failure, .. } if failure.retry_after_ms.is_none() => {
                return Err(super::solve::stopped(failure));
            }
            notice => super::solve::say(self.app, notice)?,
        }
        Ok(())
    }

    /// The exit code, once everything is settled.
    async fn look(&mut self) -> Result<Option<Exit>> {
        let found = self.engine.desk().operation(self.id).await.map_err(work::of_engine)?;
        let Some((operation, _)) = found else {
            return Err(Fault::failed(format!("operation {} is gone", self.id)));
        };
        self.progress.draw(self.engine, self.app);
        if operation.state.is_active() {
            return Ok(None);
        }
        let open: Vec<_> = self.open.keys().copied().collect();
        let untouched = self.settle(&open).await?;
        if operation.state == OperationState::Paused {
            let note = operation.note.unwrap_or_default();
            let left = "what it has not redriven stays dead; `deadletter stats` tells of what";
            self.app.out.warn(&format!("the operation paused itself: {note}; {left}"));
            return Ok(Some(Exit::DeadTasks));
        }
        // The operation is over: what it skipped stands as it stood, or as somebody else left it.
        for id in untouched {
            self.open.remove(&id);
        }
        Ok(self.open.is_empty().then_some(self.progress.exit()))
    }

    /// Takes the verdicts of those that were redriven, and of those that were answered late before
    /// their turn came; answers those that rest without it. A task may be buried or cancelled while
    /// it waits for its redrive.
    async fn settle(&mut self, ids: &[TaskId]) -> Result<Vec<TaskId>> {
        let mut untouched = Vec::new();
        for ids in ids.chunks(PAGE) {
            let tasks = self.engine.store().get(ids).await.map_err(crate::shelf::fault)?;
            for (id, _) in ids.iter().zip(&tasks).filter(|(_, task)| task.is_none()) {
                // Purged by somebody: it has no verdict any more.
                self.open.remove(id);
            }
            for task in tasks.into_iter().flatten().filter(|task| task.kind().is_terminal()) {
                match self.open.get(&task.id) {
                    Some(before)
                        if task.counters.redrives > before.redrives
                            || task.kind() == StateKind::Solved =>
                    {
                        let attempts = before.attempts;
                        self.take(&task, attempts).await?;
                    }
                    Some(_) => untouched.push(task.id),
                    None => {}
                }
            }
        }
        Ok(untouched)
    }

    /// One verdict; `attempts` of the task's are older than the operation.
    async fn take(&mut self, task: &Task, attempts: u32) -> Result<()> {
        self.open.remove(&task.id);
        self.progress.settled(task);
        let spent = Spent::on(self.engine, task.id, |attempt| attempt.n > attempts).await;
        self.progress.cost(spent.map_err(crate::shelf::fault)?);
        *self.verdicts.entry(task.kind()).or_default() += 1;
        if let Some(answers) = &mut self.answers {
            let answer = self.engine.store().answer(task.id).await;
            let answer = answer.map_err(crate::shelf::fault)?;
            let answer = answer.filter(|_| task.kind() == StateKind::Solved);
            answers.write(self.app, None, task, answer.as_ref())?;
            self.engine.note_read(task, answer.as_ref());
        }
        Ok(())
    }
}
