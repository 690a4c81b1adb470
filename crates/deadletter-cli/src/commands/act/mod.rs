//! What bury, exhume, cancel, hold, release and purge have in common: choose, freeze, show, do, tell.

mod choice;
mod consent;
mod plan;

pub(super) use choice::{Choice, chosen_ids, nothing, refuse_unknown, who};
pub(super) use consent::{asked, confirmed};

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    signals::Signals,
    work,
};
use deadletter::{
    Act, ActOptions, ActPlan, Deadletter, Operation, OperationState, core::OperationId,
};
use serde_json::json;

/// How far it has come before anybody is asked.
pub(super) enum Begun<'a> {
    /// The plan is shown, and there is nothing to do with what stands.
    Nothing(Box<Deadletter>),
    /// The plan is shown, and that was all that was asked.
    Shown,
    /// The tasks are frozen, and wait for a word.
    Ready(Box<Prepared<'a>>),
}

/// An act whose tasks are frozen.
pub(super) struct Prepared<'a> {
    app: &'a App,
    pub(super) engine: Deadletter,
    act: Act,
    pub(super) id: OperationId,
    pub(super) plan: ActPlan,
}

/// Whether an act is for what stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// For nothing else.
    Standing,
    /// For what is stored later, too: nothing has to match yet.
    Coming,
}

/// Chooses, freezes unless it is a dry run, and shows what would be done.
pub(super) async fn begin<'a>(
    app: &'a App,
    act: Act,
    choice: &Choice,
    meant: Meant,
) -> Result<Begun<'a>> {
    let filter = choice.filter(plan::example(act))?;
    let engine = work::desk(&app.settings()?).await?;
    let desk = engine.desk();
    refuse_unknown(&engine, &choice.ids).await?;
    let limit = if choice.dry_run { choice.limit } else { Some(choice.limit.unwrap_or(1).min(1)) };
    let plan = desk.plan_act(act, &filter, limit).await.map_err(work::of_engine)?;
    if choice.dry_run || plan.count == 0 {
        if plan.count > 0 || meant == Meant::Standing || choice.dry_run {
            plan::show(app, act, &filter, &plan, None)?;
        }
        return Ok(if plan.count == 0 { Begun::Nothing(Box::new(engine)) } else { Begun::Shown });
    }
    let (by, why) = (who(app), choice.reason.clone());
    let options = ActOptions { limit: choice.limit, by, why };
    let id = desk.prepare(act, &filter, options).await.map_err(work::of_engine)?;
    let plan = desk.plan_prepared(&id).await.map_err(work::of_engine)?;
    plan::show(app, act, &filter, &plan, Some(&id))?;
    let prepared = Prepared { app, engine, act, id, plan };
    if prepared.plan.fit == 0 {
        prepared.drop_it().await?;
        return Ok(Begun::Nothing(Box::new(prepared.engine)));
    }
    Ok(Begun::Ready(Box::new(prepared)))
}

/// How many were skipped, and why.
pub(super) fn told(operation: &Operation, skipped: u64) -> String {
    let skips = operation.skips.iter();
    let why: Vec<_> = skips.map(|(why, n)| format!("{n} {}", why.about())).collect();
    format!("{skipped} skipped: {}", why.join(", "))
}

impl Prepared<'_> {
    /// Forgets it: nothing was changed.
    pub(super) async fn drop_it(&self) -> Result<()> {
        self.engine
            .desk()
            .stop_operation(&self.id, &who(self.app), None)
            .await
            .map_err(work::of_engine)?;
        self.app.out.say("nothing was changed");
        Ok(())
    }

    /// Does it where that was said already, or is said now; otherwise forgets it.
    pub(super) async fn if_agreed(self, is_yes: bool, question: &str) -> Result<Exit> {
        let agreed = if is_yes { Ok(true) } else { confirmed(self.app, question) };
        match agreed {
            Ok(true) => self.carry_out().await,
            Ok(false) => self.drop_it().await.map(|()| Exit::Good),
            Err(fault) => {
                self.drop_it().await?;
                Err(fault)
            }
        }
    }

    /// Does it, and tells what came of it.
    pub(super) async fn carry_out(self) -> Result<Exit> {
        let desk = self.engine.desk();
        let mut signals = Signals::listen()?;
        desk.release(&self.id).await.map_err(work::of_engine)?;
        let bar = self.app.out.bar(usize::try_from(self.plan.count).unwrap_or(usize::MAX));
        let mut is_stopped = false;
        loop {
            let mut step = std::pin::pin!(desk.advance(&self.id));
            // A step that has begun is ended: its tasks are counted.
            let more = tokio::select! {
                more = &mut step => more,
                () = signals.next() => {
                    is_stopped = true;
                    step.await
                }
            };
            if !more.map_err(work::of_engine)? {
                break;
            }
            if is_stopped {
                desk.stop_operation(&self.id, &who(self.app), None)
                    .await
                    .map_err(work::of_engine)?;
                break;
            }
            let found = desk.operation(&self.id).await.map_err(work::of_engine)?;
            let [_, done, skipped] = found.map_or([0; 3], |(_, items)| items);
            let position = usize::try_from(done + skipped).unwrap_or(usize::MAX);
            bar.draw(position, format!("{done} {}, {skipped} skipped", plan::done_word(self.act)));
        }
        bar.clear();
        self.tell(is_stopped).await
    }

    async fn tell(&self, is_stopped: bool) -> Result<Exit> {
        let found = self.engine.desk().operation(&self.id).await.map_err(work::of_engine)?;
        let Some((operation, [left, done, skipped])) = found else {
            return Err(Fault::failed(format!("operation {} is gone", self.id)));
        };
        let word = plan::done_word(self.act);
        let gone = operation.frozen.saturating_sub(done + skipped + left);
        if !self.app.out.is_table() {
            self.app.out.json(&json!({
                "operation": self.id,
                "act": self.act.label(),
                "state": operation.state.label(),
                "done": done,
                "skipped": skipped,
                "left": left,
                "gone": gone,
                "skips": operation.skips,
            }))?;
        }
        let mut line = format!("{done} {word}");
        if skipped > 0 {
            line.push_str(&format!("; {}", told(&operation, skipped)));
        }
        if left > 0 {
            line.push_str(&format!("; {left} stand as they stood"));
        }
        if gone > 0 {
            let by = match self.act {
                // What it had deleted was not counted yet.
                Act::Purge => "by others, or by a process that died at this purge",
                _ => "by others, before or after their turn came",
            };
            line.push_str(&format!("; {gone} were purged {by}"));
        }
        self.app.out.say(&line);
        if is_stopped && operation.state == OperationState::Stopped {
            self.app.out.say("interrupted: what was done stays done, and nothing more is");
            return Ok(Exit::Interrupted);
        }
        Ok(if skipped + left > 0 { Exit::Failed } else { Exit::Good })
    }
}
