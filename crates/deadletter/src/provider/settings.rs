//! What the settings of any provider must be, and the mark of a key.

use super::transport::Endpoint;
use deadletter_core::hex;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Digits of a key's mark: enough to tell a few keys apart.
const MARK: usize = 12;
/// Longest key that is taken.
const KEY_LIMIT: usize = 128;

/// Why settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// An endpoint is no address that can be used.
    #[error("the {which} endpoint {why}")]
    Endpoint {
        /// `submit`, `result` or `task`.
        which: &'static str,
        /// What is wrong with it; never the address, which may hold credentials.
        why: &'static str,
    },
    /// The key cannot be one.
    #[error("the key is empty, longer than 128 characters, or not visible ASCII without `*`")]
    Key,
}

/// An endpoint from its address.
pub(super) fn endpoint(which: &'static str, address: &str) -> Result<Endpoint, InvalidSettings> {
    Endpoint::parse(address).map_err(|why| InvalidSettings::Endpoint { which, why })
}

/// Refuses what cannot be a key.
pub(super) fn check_key(key: &SecretString) -> Result<(), InvalidSettings> {
    let key = key.expose_secret();
    let is_key = (1..=KEY_LIMIT).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
    if is_key { Ok(()) } else { Err(InvalidSettings::Key) }
}

/// What tells a key from another, and from which nobody can go back to it.
pub(super) fn credential(key: &SecretString) -> String {
    let mut mark = hex(&Sha256::digest(key.expose_secret()));
    mark.truncate(MARK);
    mark
}
