//! What the processes of this store know of their accounts: stopped, or behind an open breaker.

use super::Finding;
use crate::{config::Settings, fault::Result, render, shelf::Shelf, work};
use deadletter::core::breaker::Phase;

pub(super) async fn look(settings: &Settings, shelf: &Shelf) -> Finding {
    ask(settings, shelf).await.unwrap_or_else(Finding::Bad)
}

async fn ask(settings: &Settings, shelf: &Shelf) -> Result<Finding> {
    let desk = work::desk_on(settings, shelf.clone()).await?.desk();
    if let Some((name, failure)) = desk.stopped().await.map_err(work::of_engine)?.pop() {
        let cause = &failure.cause;
        return Ok(Finding::Doubtful(
            format!("{name} is stopped: {cause}; nothing is sent but one probe in five minutes"),
            format!("see `deadletter explain {cause}`; another key ends the stop at once"),
        ));
    }
    let breakers = desk.breakers().await.map_err(work::of_engine)?;
    let Some(breaker) = breakers.iter().find(|breaker| breaker.phase != Phase::Closed) else {
        return Ok(Finding::Good("no account is stopped, and no breaker is open".to_owned()));
    };
    let wait = breaker.retry_after_ms.map(render::duration).map(|time| format!(", {time} to go"));
    Ok(Finding::Doubtful(
        format!("breaker of {} is {}{}", breaker.account, breaker.phase, wait.unwrap_or_default()),
        "it closes by itself when upstream answers; `deadletter breaker status` tells more"
            .to_owned(),
    ))
}
