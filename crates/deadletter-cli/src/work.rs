//! From the settings to a store, an account and a running engine.

use crate::{
    ahead::{self, Ahead},
    app::App,
    config::{CRASH_VARIABLE, Settings},
    fault::{Fault, Result},
    shelf::{self, Shelf},
    upstream,
};
use deadletter::{
    AccountConfig, Builder, CrashPoint, Deadletter, Error, core::Terms, outbound::Guard,
    provider::Provider, store::Store,
};
use std::sync::Arc;

/// Starts an engine on the store of the settings.
pub(crate) async fn engine(app: &App, settings: &Settings) -> Result<Deadletter> {
    let engine = idle(app, settings).await?;
    begin(app, &engine).await?;
    Ok(engine)
}

/// The same, which works on nothing until it is told to [`begin`].
pub(crate) async fn idle(app: &App, settings: &Settings) -> Result<Deadletter> {
    let account = account(settings)?;
    let shelf = Shelf::open(app, settings).await?;
    let builder = builder(app, shelf.store, account, settings.keep_solved_ms, &settings.guard);
    builder.desk_only().await.map_err(of_engine)
}

/// The desk of the settings' store, without an engine that works: needs no key, and a store that
/// stands.
pub(crate) async fn desk(settings: &Settings) -> Result<Deadletter> {
    desk_on(settings, Shelf::open_existing(settings).await?).await
}

/// The same on a store that is open, and may be new.
pub(crate) async fn desk_on(settings: &Settings, shelf: Shelf) -> Result<Deadletter> {
    let provider = upstream::provider_or_nobody(settings)?;
    let account = account_at(settings, provider);
    let builder = Deadletter::builder().store(shelf.store).account(account);
    builder.desk_only().await.map_err(of_engine)
}

/// Starts an engine, which deletes solved tasks after `keep_solved_ms`, and posts where `guard` allows.
pub(crate) async fn start(
    app: &App,
    store: Arc<dyn Store>,
    account: AccountConfig,
    keep_solved_ms: Option<i64>,
    guard: &Guard,
) -> Result<Deadletter> {
    let builder = builder(app, store, account, keep_solved_ms, guard);
    let engine = builder.desk_only().await.map_err(of_engine)?;
    begin(app, &engine).await?;
    Ok(engine)
}

fn builder(
    app: &App,
    store: Arc<dyn Store>,
    account: AccountConfig,
    keep_solved_ms: Option<i64>,
    guard: &Guard,
) -> Builder {
    app.close_at_end(&store);
    let crash = CrashPoint::from_text(app.environment.variable(CRASH_VARIABLE));
    let builder = Deadletter::builder().store(store).account(account).crash_point(crash);
    builder.keep_solved_for(keep_solved_ms).guard(guard.clone())
}

/// Sets an engine to work, and says which account of it is stopped.
pub(crate) async fn begin(app: &App, engine: &Deadletter) -> Result<()> {
    if let Some(ahead) = ahead::look(engine.store()).await? {
        app.out.warn(&format!("{}; {}", ahead.told(), Ahead::fix()));
    }
    engine.set_to_work().await.map_err(of_engine)?;
    for account in engine.status().accounts {
        if let Some(failure) = account.stopped {
            let (name, cause) = (account.name, failure.cause);
            app.out.warn(&format!(
                "account {name} is stopped: {cause}; a probe every five minutes asks whether it may go on"
            ));
        }
    }
    Ok(())
}

/// The account of the settings.
pub(crate) fn account(settings: &Settings) -> Result<AccountConfig> {
    Ok(account_at(settings, upstream::provider(settings)?))
}

fn account_at(settings: &Settings, provider: Arc<dyn Provider>) -> AccountConfig {
    let terms = settings.timeouts_ms.iter().map(|(method, timeout_ms)| {
        (method.clone(), Terms { timeout_ms: *timeout_ms, ..provider.terms(method) })
    });
    let terms = terms.collect();
    let account = AccountConfig::new(settings.account.clone(), provider).threads(settings.threads);
    AccountConfig { policy: settings.policy.clone(), terms, ..account }
}

/// A fault of the engine.
pub(crate) fn of_engine(error: Error) -> Fault {
    match error {
        Error::Store(error) => shelf::fault(error),
        error => Fault::failed("the engine could not go on").because(error),
    }
}
