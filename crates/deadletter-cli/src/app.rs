//! From arguments to an exit code: parse, start the runtime, run the command, show its fault.

use crate::{
    cli::{self, Cli, Global},
    commands::Command,
    config::{self, Environment, Settings},
    exit::Exit,
    fault::{Fault, Result},
    output::Output,
};
use clap::Parser;
use deadletter::store::Store;
use std::{
    ffi::OsString,
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What every command works with.
pub(crate) struct App {
    /// The options of every command.
    pub(crate) global: Global,
    /// Variables and directories, read once.
    pub(crate) environment: Environment,
    /// The only way to print.
    pub(crate) out: Output,
    /// Guards the stores that engines of this process work on: they are closed at its end.
    stores: Mutex<Vec<Arc<dyn Store>>>,
}

/// A store that somebody else is busy with is not waited for: what its log holds is not lost.
const CLOSE_MAX: Duration = Duration::from_secs(2);

impl App {
    /// Closes that store when the command has ended well.
    pub(crate) fn close_at_end(&self, store: &Arc<dyn Store>) {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(store));
    }

    /// Puts what the logs of the stores hold into their files, so that a file is whole by itself.
    async fn close_stores(&self) {
        let stores = take(&mut *self.stores.lock().unwrap_or_else(PoisonError::into_inner));
        for store in stores {
            match tokio::time::timeout(CLOSE_MAX, store.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the store could not be closed"),
                Err(_) => tracing::debug!("the store is in use; its log stays beside it"),
            }
        }
    }

    /// The URL of a store that an argument names, with the password that a file has for it.
    pub(crate) fn store_url(&self, url: &str) -> String {
        config::with_password(&self.environment, url)
    }

    /// The settings: flags, environment, file, defaults.
    pub(crate) fn settings(&self) -> Result<Settings> {
        self.settings_with(&[])
    }

    /// The settings, with values that the command's own flags set.
    pub(crate) fn settings_with(
        &self,
        own: &[(&'static str, &'static str, String)],
    ) -> Result<Settings> {
        let layers = config::load(&self.environment, &self.flags(own))?;
        for remark in &layers.remarks {
            self.out.say(remark);
        }
        Settings::read(&layers)
    }

    /// The layers of the configuration, with values that the command's own flags set.
    pub(crate) fn flags(&self, own: &[(&'static str, &'static str, String)]) -> config::Flags {
        let mut values = own.to_vec();
        values.extend(self.global.store.clone().map(|url| ("store", "--store", url)));
        config::Flags { config: self.global.config.clone(), values }
    }
}

/// Runs the command, and leaves the stores closed where nothing of it is left at work.
async fn run(app: &App, command: Command) -> Result<Exit> {
    let exit = command.run(app).await?;
    if exit != Exit::Interrupted {
        app.close_stores().await;
    }
    Ok(exit)
}

/// Runs the command line `args`, the program's name first.
pub(crate) fn start(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args.into_iter().map(cli::as_term)) {
        Ok(cli) => cli,
        Err(error) => return Output::of_parser(&error),
    };
    let environment = Environment::of_process();
    let out = Output::of_process(&cli.global, &environment);
    out.log_to_stderr(cli.global.verbose, cli.global.log_format);
    let app = App { global: cli.global, environment, out, stores: Mutex::default() };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed("cannot start the runtime").because(error))
        .and_then(|runtime| runtime.block_on(run(&app, cli.command)));
    let result = result.and_then(|exit| app.out.flush().map(|()| exit));
    result.unwrap_or_else(|fault| {
        app.out.fault(&fault);
        fault.exit
    })
}
