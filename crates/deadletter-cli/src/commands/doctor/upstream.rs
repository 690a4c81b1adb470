//! The account as upstream sees it: one question for its threads, never a submit.

use super::Finding;
use crate::{
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    upstream,
};
use deadletter::provider::{AccountState, PollError};
use std::time::Duration;

/// Longer than the transport's own limits: the question ends by itself before.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn look(settings: &Settings) -> Finding {
    match ask(settings).await {
        Ok(state) => judge(&state, settings.threads),
        Err(fault) => Finding::Bad(fault),
    }
}

async fn ask(settings: &Settings) -> Result<AccountState> {
    let provider = upstream::provider(settings)?;
    let asked = tokio::time::timeout(PATIENCE, provider.account()).await;
    let endpoint = &settings.result_endpoint;
    let [_, named] = settings.provider.endpoint_settings();
    match asked {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(PollError::Failed(failed))) => {
            Err(Fault::new(Exit::Key, "upstream does not accept the account")
                .because(failed)
                .fix("check the key and the plan; `deadletter explain CODE` tells more"))
        }
        Ok(Err(PollError::CouldNotAsk(error))) => {
            Err(Fault::new(Exit::Upstream, format!("{endpoint} did not answer"))
                .because(error)
                .fix(format!("check the network and {named}; tasks wait until it answers")))
        }
        Err(_) => Err(Fault::new(Exit::Upstream, format!("{endpoint} did not answer in time"))
            .fix("check the network; tasks wait until it answers")),
    }
}

/// Holds upstream's count of threads against the configured one.
fn judge(state: &AccountState, configured: Option<u32>) -> Finding {
    let Some(threads) = state.threads else {
        let balance =
            state.balance.map_or(String::new(), |money| format!(" a balance of {money},"));
        return Finding::Good(format!(
            "it answers:{balance} and it does not say how many threads there are"
        ));
    };
    let working = state.working.map_or(String::new(), |working| format!(", {working} in use"));
    let detail = format!("it answers: {threads} threads{working}");
    match configured {
        Some(configured) if configured > threads => Finding::Doubtful(
            format!("{detail}, and account.threads = {configured}"),
            format!("set account.threads to {threads} at most, or leave it out"),
        ),
        _ => Finding::Good(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_the_plan_has_are_told() {
        let state = AccountState { threads: Some(5), working: Some(2), balance: None };
        assert!(matches!(judge(&state, Some(6)), Finding::Doubtful(..)));
        assert!(matches!(judge(&state, Some(5)), Finding::Good(_)));
        assert!(matches!(judge(&state, None), Finding::Good(_)));
    }
}
