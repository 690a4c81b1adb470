//! The server's time, asked for.

use super::{columns::Columns, statement::Statement};
use deadletter_core::UnixMs;
use tokio_postgres::Row;

/// Asks for the server's time, in milliseconds.
pub(super) fn question() -> Statement {
    Statement::new("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
}

/// What [`question`] was answered with.
pub(super) fn answer(rows: &[Row]) -> Option<UnixMs> {
    Columns::of(rows.first()?).instant().ok()
}
