//! Where this machine notes the submits to a store that may lose its last moments: whether it can.

use super::{Finding, disk::nearest_folder};
use crate::config::Settings;
use deadletter::store::redis::{self, is_redis};

/// None for a store that loses nothing that it has answered.
pub(super) fn look(settings: &Settings) -> Option<Finding> {
    if !is_redis(&settings.store) {
        return None;
    }
    let without = "submits are not noted beside the store: a worker that ends together with the \
                   server may make one more than its tasks may have";
    let Some(folder) = redis::ledger_of(&settings.store) else {
        let fix = "set HOME or XDG_DATA_HOME, or name a folder in the URL: ledger=FOLDER";
        return Some(Finding::Doubtful(without.to_owned(), fix.to_owned()));
    };
    let shown = folder.display();
    // One that is not there yet is made by the first worker.
    let place = if folder.exists() { folder.clone() } else { nearest_folder(&folder) };
    Some(match tempfile::tempfile_in(place) {
        Ok(_) => Finding::Good(format!("submits are noted in {shown}")),
        Err(error) => Finding::Doubtful(
            format!("{without}; no file can be made in {shown}: {error}"),
            "give this user the right to write there, or name another folder in the URL: \
             ledger=FOLDER"
                .to_owned(),
        ),
    })
}
