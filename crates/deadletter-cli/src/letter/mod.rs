//! Everything that is kept of one task, as it leaves the program and comes back: our own JSON
//! lines, CSV, and the shape of the article's queue files. Pure functions over core types.

mod article;
mod dated;
mod incoming;
mod mask;
mod ours;
mod restore;
mod salvaged;
mod sheet;

#[cfg(test)]
pub(crate) use article::from_article;
pub(crate) use article::{Mark, to_article};
pub(crate) use dated::dated;
pub(crate) use incoming::{Incoming, Reader, Spoiled, Tear};
pub(crate) use mask::masked;
pub(crate) use ours::{document, footer, has_secrets, header};
pub(crate) use restore::{HOLD, REQUEST_LOST, Restored, Restorer};
pub(crate) use salvaged::{laid_to_rest, rebuilt};
pub(crate) use sheet::{HEADER as SHEET_HEADER, guarded, row as sheet_row};
