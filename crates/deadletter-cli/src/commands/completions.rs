//! `deadletter completions`: the shell's word completion, made from the table of commands.

use crate::{app::App, cli::Cli, exit::Exit, fault::Result};
use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter completions bash > deadletter.bash\n  deadletter completions zsh > _deadletter",
    after_help = "Where a shell looks:\n  \
        bash  ~/.local/share/bash-completion/completions/deadletter\n  \
        zsh   a folder of $fpath, as _deadletter\n  \
        fish  ~/.config/fish/completions/deadletter.fish"
)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(app: &App, args: &Args) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "deadletter", &mut script);
    app.out.bytes(&script)?;
    Ok(Exit::Good)
}
