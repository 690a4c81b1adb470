//! Rows and words as they are stored.

use super::failure::{Failure, Outcome};
use serde::{Serialize, de::DeserializeOwned};
use std::{error::Error, str::FromStr};

/// A row as it is stored: JSON, by the names that the core gives.
pub(super) fn written<T: Serialize>(row: &T) -> String {
    serde_json::to_string(row).expect("rows have no maps but with texts for keys")
}

/// The row that was stored so.
pub(super) fn read<T: DeserializeOwned>(stored: &str) -> Outcome<T> {
    Ok(serde_json::from_str(stored)?)
}

/// A word or a number that stands for itself.
pub(super) fn word<T>(stored: &str) -> Outcome<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    stored.parse().map_err(|error: T::Err| Failure::Misfit {
        what: "a stored word".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// What does not hold what it should.
pub(super) fn misfit(what: &str) -> Failure {
    Failure::Misfit { what: what.to_owned(), source: None }
}
