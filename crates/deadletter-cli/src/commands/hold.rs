//! `deadletter hold` and `deadletter release`: tasks kept back by hand, and let go.

use super::act::{self, Begun, Choice, Meant};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render, work,
};
use deadletter::{
    Act, Desk, Heeding, StandingHold,
    core::{Filter, UnixMs},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter hold --where 'host:shop.example' --reason 'their site is down'\n  deadletter hold --where 'host:shop.example' --standing --yes\n  deadletter hold --where 'batch:nightly state:queued' --dry-run\n  deadletter list held:yes",
    after_help = "A held task waits: nobody claims it, and no redrive takes it, until `release`. Its deadline runs on. A filter chooses queued tasks and dead letters, unless it names a state; what is submitted already is polled to its verdict. What is stored later is held with --standing alone, by whatever process it comes: the command ends when every gateway at work heeds it, or names those that do not after eight seconds. Exit code 1: some were skipped (they were claimed or ended in the meantime), and it says so."
)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Hold what is stored from now on too, until `release` with the same filter
    #[arg(long, requires = "filter", conflicts_with = "limit")]
    standing: bool,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `release`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter release --where host:shop.example --reason 'it is back'\n  deadletter release --where 'held:yes batch:nightly' --dry-run",
    after_help = "Ends holds of `hold` alone: a letter that was imported with masked secrets stays held, since it cannot be sent as it stands. What `hold --standing` began ends by the same filter. A released task is claimed when its turn comes; a dead letter waits for a redrive as before. Exit code 1: some were skipped, and it says why."
)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    choice: Choice,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let meant = if args.standing { Meant::Coming } else { Meant::Standing };
    let begun = act::begin(app, Act::Hold, &args.choice, meant).await?;
    let stands = match args.standing {
        true => args.choice.open_ended()?,
        false => None,
    };
    match (begun, stands) {
        (Begun::Nothing(engine), Some(filter)) if !args.choice.is_dry_run() => {
            agree(app, args.yes, "nothing that stands matches; hold what comes from now on?")?;
            let desk = engine.desk();
            let heeding = stand(app, &desk, &filter, desk.now(), &args.choice).await?;
            wait_for_all(app, &desk, heeding).await?;
            Ok(Exit::Good)
        }
        (Begun::Nothing(_), _) => Ok(act::nothing(&args.choice)),
        (Begun::Shown, _) => Ok(Exit::Good),
        (Begun::Ready(prepared), None) => {
            let asked = question(Act::Hold, prepared.plan.fit, "");
            prepared.if_agreed(args.yes, &asked).await
        }
        (Begun::Ready(prepared), Some(filter)) => {
            let asked = question(Act::Hold, prepared.plan.fit, " and what comes from now on");
            if let Err(fault) = agree(app, args.yes, &asked) {
                prepared.drop_it().await?;
                return Err(fault);
            }
            // What is stored from the moment on at which tasks were chosen is the document's.
            let known = prepared.engine.desk().operation(&prepared.id).await;
            let at = known.map_err(work::of_engine)?.map(|(operation, _)| operation.created_at);
            let desk = prepared.engine.desk();
            let at = at.unwrap_or_else(|| desk.now());
            let heeding = stand(app, &desk, &filter, at, &args.choice).await?;
            let exit = prepared.carry_out().await?;
            wait_for_all(app, &desk, heeding).await?;
            Ok(exit)
        }
    }
}

pub(super) async fn release(app: &App, args: ReleaseArgs) -> Result<Exit> {
    let begun = act::begin(app, Act::Release, &args.choice, Meant::Standing).await?;
    let ends = args.choice.open_ended()?;
    match begun {
        Begun::Shown => Ok(Exit::Good),
        Begun::Nothing(_) if args.choice.is_dry_run() => Ok(Exit::Good),
        Begun::Nothing(engine) => {
            let has_ended = end(app, &engine.desk(), ends.as_ref()).await?;
            Ok(if has_ended { Exit::Good } else { act::nothing(&args.choice) })
        }
        Begun::Ready(prepared) => {
            let asked = question(Act::Release, prepared.plan.fit, "");
            if let Err(fault) = agree(app, args.yes, &asked) {
                prepared.drop_it().await?;
                return Err(fault);
            }
            end(app, &prepared.engine.desk(), ends.as_ref()).await?;
            prepared.carry_out().await
        }
    }
}

fn question(act: Act, fit: u64, more: &str) -> String {
    format!("{} {}{more}?", act.label(), render::counted(fit, "task", "tasks"))
}

fn agree(app: &App, is_yes: bool, asked: &str) -> Result<()> {
    if is_yes || act::confirmed(app, asked)? {
        return Ok(());
    }
    Err(Fault::failed("it was not agreed to, and nothing was changed"))
}

async fn stand(
    app: &App,
    desk: &Desk,
    filter: &Filter,
    at: UnixMs,
    choice: &Choice,
) -> Result<Heeding> {
    let by = act::who(app);
    let begun = desk.hold_what_comes(filter, at, &by, choice.reason()).await;
    let heeding = begun.map_err(work::of_engine)?;
    app.out.say(&format!(
        "what is stored from now on is held too where it matches; `deadletter release --where '{filter}'` ends that"
    ));
    Ok(heeding)
}

/// Ends where every gateway heeds it: a submit after this command is held at once.
async fn wait_for_all(app: &App, desk: &Desk, heeding: Heeding) -> Result<()> {
    for worker in desk.heeded(heeding).await.map_err(work::of_engine)? {
        app.out.warn(&format!(
            "{} has not noticed it yet: what it takes in until then may be submitted before it is held",
            worker.label
        ));
    }
    Ok(())
}

/// Ends the standing hold of the filter; tells of those that stand on. True where one has ended.
async fn end(app: &App, desk: &Desk, filter: Option<&Filter>) -> Result<bool> {
    let ended = match filter {
        Some(filter) => {
            desk.end_hold(filter, &act::who(app)).await.map_err(work::of_engine)?.is_some()
        }
        None => false,
    };
    if ended {
        app.out.say("what is stored from now on is not held any more");
    }
    for hold in desk.standing_holds().await.map_err(work::of_engine)? {
        let StandingHold { filter, by, why, .. } = hold;
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        app.out.say(&format!("what comes is still held where {filter} matches (by {by}{why})"));
    }
    Ok(ended)
}
