//! One pass of a drain: plan, redrive, follow, tell.

use crate::{
    app::App,
    commands::{
        answers::Answers,
        follow::{self, Follow},
        redrive::why_left,
        solve,
    },
    exit::Exit,
    fault::{Fault, Result},
    render,
    signals::Signals,
    work,
};
use deadletter::{
    Deadletter, Notice, RedriveOptions, Turn,
    core::{Filter, OperationId, StateKind, UnixMs, decide::Eligibility},
};
use serde_json::json;
use std::collections::BTreeMap;

/// What every pass works with.
pub(super) struct Pass<'a> {
    pub(super) app: &'a App,
    pub(super) engine: &'a Deadletter,
    pub(super) turn: &'a Turn,
    pub(super) filter: Filter,
    pub(super) options: RedriveOptions,
    pub(super) answers: Option<Answers>,
}

/// What came of a pass.
pub(super) struct Done {
    pub(super) exit: Exit,
    matched: u64,
    /// Those of them that a redrive leaves alone, by why.
    left: BTreeMap<Eligibility, u64>,
    redriven: u64,
    operation: Option<OperationId>,
    verdicts: BTreeMap<StateKind, u64>,
}

impl Pass<'_> {
    pub(super) async fn run(&mut self, signals: &mut Signals) -> Result<Done> {
        let desk = self.engine.desk();
        let mut notices = self.engine.notices();
        let plan = desk.plan_redrive(&self.filter, &self.options).await.map_err(work::of_engine)?;
        let mut left = plan.by_eligibility;
        left.retain(|verdict, _| why_left(*verdict).is_some());
        if plan.eligible == 0 {
            let verdicts = BTreeMap::new();
            let (matched, operation) = (plan.count, None);
            let exit = Exit::Good;
            return Ok(Done { exit, matched, left, redriven: 0, operation, verdicts });
        }
        let before = follow::before(self.engine, &plan.eligible_ids).await?;
        let begun = self.turn.redrive(&self.filter, self.options.clone()).await;
        let Some(id) = begun.map_err(work::of_engine)? else { return Err(taken_over()) };
        let letters = render::counted(plan.eligible, "dead letter", "dead letters");
        self.app.out.say(&format!("{letters} may succeed; redriving"));
        self.tell_of_breakers();
        let (app, engine) = (self.app, self.engine);
        let mut follow = Follow::begin(app, engine, &id, before, self.answers.as_mut());
        let end = follow.until_over(&mut notices, signals).await;
        follow.progress.clear();
        let verdicts = std::mem::take(&mut follow.verdicts);
        // Where it was interrupted or paused itself, the rest stays dead until the next pass.
        let (by, why) = (&self.options.by, self.options.why.as_deref());
        let ended = self.turn.end_redrive(by, why).await.map_err(work::of_engine);
        let exit = end?;
        ended?;
        let found = desk.operation(&id).await.map_err(work::of_engine)?;
        let redriven = found.map_or(0, |(_, [_, done, _])| done);
        Ok(Done { exit, matched: plan.count, left, redriven, operation: Some(id), verdicts })
    }

    fn tell_of_breakers(&self) {
        for account in self.engine.status().accounts {
            if account.phase != deadletter::core::breaker::Phase::Closed {
                let when = account.retry_after_ms.map_or("until it is reset".to_owned(), |ms| {
                    format!("a probe goes out in {}", render::duration(ms))
                });
                let name = account.name;
                self.app.out.say(&format!("the breaker of {name} is {}; {when}", account.phase));
            }
        }
    }

    /// Waits for the next pass; false where a signal came first.
    pub(super) async fn wait_until(&self, at: UnixMs, signals: &mut Signals) -> Result<bool> {
        let clock = self.engine.store().clock();
        let mut notices = self.engine.notices();
        let whole_ms = at.since(clock.now());
        let bar = self.app.out.bar(seconds(whole_ms));
        loop {
            let left_ms = at.since(clock.now());
            if left_ms <= 0 {
                return Ok(true);
            }
            let words = format!("the next pass begins in {}", render::duration(left_ms));
            bar.draw(seconds(whole_ms - left_ms), words);
            // Without a terminal nobody counts the seconds.
            let step_ms = if bar.is_hidden() { left_ms } else { left_ms.min(1_000) };
            tokio::select! {
                () = signals.next() => return Ok(false),
                () = tokio::time::sleep(clock.wait_for(step_ms)) => {}
                notice = notices.recv() => match notice {
                    Ok(Notice::AccountStopped { failure, .. })
                        if failure.retry_after_ms.is_none() => return Err(solve::stopped(&failure)),
                    Ok(notice) => solve::say(self.app, &notice)?,
                    Err(_) => {}
                },
            }
        }
    }
}

fn seconds(ms: i64) -> usize {
    usize::try_from(ms / 1_000).unwrap_or(0)
}

/// Two drains would redrive the same letters twice as fast as anybody asked for.
pub(super) fn taken_over() -> Fault {
    Fault::failed("another drain has taken over")
        .why("this one was silent for too long, as if it had died")
        .fix("its tasks are kept; one drain is enough")
}

impl Done {
    /// True where neither pass had anything to redrive, and both left the same alone.
    fn finds_as_little_as(&self, next: &Self) -> bool {
        let is_empty = self.operation.is_none() && next.operation.is_none();
        is_empty && self.left == next.left
    }

    pub(super) fn tell(
        &self,
        app: &App,
        n: u64,
        (began_at, ended_at): (UnixMs, UnixMs),
        next_at: Option<UnixMs>,
        before: Option<&Self>,
    ) -> Result<()> {
        let of = |state| self.verdicts.get(&state).copied().unwrap_or(0);
        let (solved, dead) = (of(StateKind::Solved), of(StateKind::Dead));
        let (buried, redriven) = (of(StateKind::Buried), self.redriven);
        if !app.out.is_table() {
            app.out.json(&json!({
                "pass": n,
                "operation": self.operation,
                "matched": self.matched,
                "left": self.left.iter().map(|(why, n)| (why.label(), n)).collect::<BTreeMap<_, _>>(),
                "redriven": redriven,
                "solved": solved,
                "dead": dead,
                "buried": buried,
                "began_at": render::instant(began_at),
                "took_ms": ended_at.since(began_at),
                "next_at": next_at.map(render::instant),
            }))?;
        }
        // Nobody reads the same words every few minutes; the documents are for programs.
        if before.is_some_and(|before| before.finds_as_little_as(self)) {
            return Ok(());
        }
        let words = if self.operation.is_none() {
            format!("nothing to redrive ({} matched)", self.matched)
        } else {
            format!("{redriven} redriven: {solved} solved, {dead} dead, {buried} buried")
        };
        let next = next_at.map_or(String::new(), |at| {
            let far = render::duration(at.since(ended_at).max(0));
            let until =
                if self.operation.is_none() { "; it waits, and tells of what comes" } else { "" };
            format!("; the next begins at {}, in {far}{until}", render::instant(at))
        });
        app.out.say(&format!("pass {n}: {words}{next}"));
        for (verdict, n) in &self.left {
            let why = why_left(*verdict).unwrap_or_default();
            let letters = render::counted(*n, "dead letter was left", "dead letters were left");
            app.out.say(&format!("{letters}: {why}"));
        }
        Ok(())
    }
}
