//! What is about to be purged, in a file that is on the disk before the first task is deleted.

use crate::{
    commands::act::Prepared,
    fault::{Fault, Result},
    letter, work,
};
use deadletter::{Error, store::draft::Draft};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Letters written between two looks at the store.
const PAGE: u32 = 500;

/// An export that is there already may be all that is left of another purge.
pub(super) fn refuse_existing(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(Fault::usage(format!("{} exists already", path.display()))
            .fix("name a file that does not exist yet"));
    }
    Ok(())
}

/// Writes every frozen task that can be purged; answers how many.
///
/// A task that changes after it was written is skipped by the purge, which knows the version that
/// was frozen, and those that may still be answered were left out before; so what is deleted is in
/// the file as it was.
pub(super) async fn write(prepared: &Prepared<'_>, path: &Path, with_secrets: bool) -> Result<u64> {
    let failed = |error: io::Error| {
        Fault::failed(format!("cannot write {}; nothing was deleted", path.display()))
            .because(error)
    };
    let (draft, file) = Draft::begin(path).map_err(failed)?;
    let mut file = BufWriter::new(file);
    let letters = letters(prepared, &mut file, with_secrets).await?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error).map_err(failed)?;
    draft.put_in_place(file).map_err(failed)?.durable().map_err(|error| {
        Fault::failed(format!("{} may be lost with the power; nothing was deleted", path.display()))
            .because(error)
            .fix("look after the disk (dmesg, free space), and name a file that does not exist yet")
    })?;
    Ok(letters)
}

async fn letters(
    prepared: &Prepared<'_>,
    file: &mut BufWriter<File>,
    with_secrets: bool,
) -> Result<u64> {
    let desk = prepared.engine.desk();
    let failed =
        |error: io::Error| Fault::failed("cannot export; nothing was deleted").because(error);
    let now = prepared.engine.store().clock().now();
    writeln!(file, "{}", letter::header(now, with_secrets)).map_err(failed)?;
    let (mut after, mut n) = (None, 0);
    loop {
        let items = desk.frozen(&prepared.id, after, PAGE).await.map_err(work::of_engine)?;
        let Some((last, _)) = items.last() else { break };
        after = Some(last.task);
        for task in items.into_iter().filter_map(|(_, task)| task) {
            if !task.kind().is_terminal() {
                continue;
            }
            let found = match desk.open(task.id).await {
                Err(Error::NoSuchTask(_)) => continue,
                found => found.map_err(work::of_engine)?,
            };
            let line = serde_json::to_string(&letter::document(&found, with_secrets))
                .map_err(|error| Fault::failed("cannot write a letter as JSON").because(error))?;
            writeln!(file, "{line}").map_err(failed)?;
            n += 1;
        }
    }
    writeln!(file, "{}", letter::footer(n)).map_err(failed)?;
    Ok(n)
}
