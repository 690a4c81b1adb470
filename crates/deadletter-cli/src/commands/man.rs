//! `deadletter man`: the manual's pages, made from the help texts.

use crate::{
    app::App,
    cli::Cli,
    exit::Exit,
    fault::{Fault, Result},
};
use clap::CommandFactory;
use clap_mangen::Man;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter man redrive > deadletter-redrive.1\n  deadletter man --out man1"
)]
pub(crate) struct Args {
    /// The command whose page is written to standard output [default: the program's own]
    #[arg(conflicts_with = "out")]
    command: Vec<String>,
    /// Write every page into this folder, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<Exit> {
    let mut program = Cli::command();
    program.build();
    match &args.out {
        Some(folder) => {
            let failed = |error| {
                Fault::failed(format!("cannot write to {}", folder.display())).because(error)
            };
            std::fs::create_dir_all(folder).map_err(failed)?;
            let pages = write_all(&program, "deadletter", folder)?;
            app.out.say(&format!("{pages} pages are written; read one with `man -l FILE`"));
        }
        None => {
            let (command, name) = find(&program, &args.command)?;
            app.out.bytes(&page(command, &name)?)?;
        }
    }
    Ok(Exit::Good)
}

/// The command that the words name, and its page's name.
fn find<'a>(program: &'a clap::Command, words: &[String]) -> Result<(&'a clap::Command, String)> {
    let mut command = program;
    let mut name = "deadletter".to_owned();
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
            let fault = Fault::usage(format!("there is no command {word:?}"));
            if known.is_empty() {
                fault.fix(format!("`{}` has no commands of its own", name.replace('-', " ")))
            } else {
                fault.fix(format!("one of: {}", known.join(", ")))
            }
        })?;
        name = format!("{name}-{word}");
    }
    Ok((command, name))
}

fn write_all(command: &clap::Command, name: &str, folder: &Path) -> Result<usize> {
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)?).map_err(|error| {
        Fault::failed(format!("cannot write {}", path.display())).because(error)
    })?;
    let mut pages = 1;
    for sub in command.get_subcommands() {
        pages += write_all(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(pages)
}

fn page(command: &clap::Command, name: &str) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let source = concat!("deadletter ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).title(name.to_uppercase()).source(source).render(&mut page).map_err(
        |error| Fault::failed(format!("cannot write the page of {name}")).because(error),
    )?;
    Ok(page)
}
