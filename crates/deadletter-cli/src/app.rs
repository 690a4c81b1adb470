//! From arguments to an exit code: parse, start the runtime, run the command, show its fault.

use crate::{
    cli::{self, Cli, Global},
    config::{self, Environment, Settings},
    exit::Exit,
    fault::{Fault, Result},
    output::Output,
};
use clap::Parser;
use std::ffi::OsString;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct App {
    /// The options of every command.
    pub(crate) global: Global,
    /// Variables and directories, read once.
    pub(crate) environment: Environment,
    /// The only way to print.
    pub(crate) out: Output,
}

impl App {
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

/// Runs the command line `args`, the program's name first.
pub(crate) fn start(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args.into_iter().map(cli::as_term)) {
        Ok(cli) => cli,
        Err(error) => return Output::of_parser(&error),
    };
    let environment = Environment::of_process();
    let out = Output::of_process(&cli.global, &environment);
    out.log_to_stderr(cli.global.verbose, cli.global.log_format);
    let app = App { global: cli.global, environment, out };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed("cannot start the runtime").because(error))
        .and_then(|runtime| runtime.block_on(cli.command.run(&app)));
    let result = result.and_then(|exit| app.out.flush().map(|()| exit));
    result.unwrap_or_else(|fault| {
        app.out.fault(&fault);
        fault.exit
    })
}
