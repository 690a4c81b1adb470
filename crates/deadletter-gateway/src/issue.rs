//! Issues and revokes keys: acts of a person, which stand in the audit log before they count.

use crate::{
    askers::{IssuedKey, KEYS_DOCUMENT, KeyBook},
    quota::Quota,
};
use deadletter::{Deadletter, Error, document};
use secrecy::SecretString;
use serde_json::json;

/// Valid keys: each is read and compared in memory, so they are people and programs, not visitors.
const KEYS: usize = 1_000;
/// Revoked ones that are shown yet; the audit log has them all.
const REVOKED: usize = 1_000;
/// Characters of a name.
const NAME: usize = 64;

/// What a key allows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeyTerms {
    /// The priority of its tasks, 0 (first) to 3; none leaves the usual one.
    pub priority: Option<u8>,
    /// How much of the gateway it may use.
    pub quota: Quota,
}

/// Whose act it is, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who.
    pub who: &'a str,
    /// Why they say they do it.
    pub why: Option<&'a str>,
}

/// What became of an issue.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What is kept of it.
    pub key: IssuedKey,
    /// True where it is the first one ever, so that the account's own key is not accepted any more.
    pub is_first: bool,
}

/// Why a key is not issued or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name cannot be one.
    #[error(
        "a name begins with a letter or a digit, and has at most {NAME} of them, dots, dashes and underscores"
    )]
    BadName,
    /// Somebody has that name.
    #[error("{0} has a valid key")]
    Taken(String),
    /// Nobody has that name.
    #[error("{0} has no valid key")]
    Unknown(String),
    /// There are too many.
    #[error("{KEYS} keys are valid, which is as many as there can be")]
    Full,
    /// The store did not take it.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Every key that was issued; those that were revoked too, until their names are given again.
pub async fn issued(engine: &Deadletter) -> Result<Vec<IssuedKey>, KeyError> {
    let book = document::read::<KeyBook>(engine.store(), KEYS_DOCUMENT).await?;
    Ok(book.map_or_else(Vec::new, |(_, book)| book.keys))
}

/// Issues `key` to `name`: it is valid when this returns, and gateways that run accept it within a
/// second. Only its hash is kept.
///
/// Errors: [`KeyError::BadName`], [`KeyError::Taken`] while the name's last key is valid,
/// [`KeyError::Full`], and the store's.
pub async fn issue(
    engine: &Deadletter,
    name: &str,
    key: &SecretString,
    terms: KeyTerms,
    by: By<'_>,
) -> Result<Issued, KeyError> {
    if !is_name(name) {
        return Err(KeyError::BadName);
    }
    let now = engine.store().clock().now();
    let KeyTerms { priority, quota } = terms;
    let fresh = IssuedKey { priority, quota, ..IssuedKey::of(name, key, now.0) };
    add(&mut read(engine).await?, &fresh)?;
    // The record first, so that no key is valid without one.
    let ends_with = &fresh.ends_with;
    engine
        .desk()
        .write_down(&json!({"kind": "key", "act": "add", "name": name, "ends_with": ends_with,
            "priority": priority, "quota": quota, "by": by.who, "why": by.why}))
        .await?;
    let act = |book: &mut KeyBook| add(book, &fresh);
    let added = document::update(engine.store(), KEYS_DOCUMENT, &KeyBook::default(), act).await?;
    let is_first = added.answer?;
    Ok(Issued { key: fresh, is_first })
}

/// Revokes the name's valid key: gateways that run refuse it within a second. Its tasks stay.
///
/// Errors: [`KeyError::Unknown`], and the store's.
pub async fn revoke(engine: &Deadletter, name: &str, by: By<'_>) -> Result<IssuedKey, KeyError> {
    let now = engine.store().clock().now();
    let known = strike(&mut read(engine).await?, name, now.0)?;
    engine
        .desk()
        .write_down(&json!({"kind": "key", "act": "revoke", "name": name,
            "ends_with": known.ends_with, "by": by.who, "why": by.why}))
        .await?;
    let act = |book: &mut KeyBook| strike(book, name, now.0);
    let struck = document::update(engine.store(), KEYS_DOCUMENT, &KeyBook::default(), act).await?;
    struck.answer
}

/// True for a word that can be a key's name: it stands in a filter and on a command line as it is.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.len() <= NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_char)
}

async fn read(engine: &Deadletter) -> Result<KeyBook, KeyError> {
    Ok(KeyBook { keys: issued(engine).await? })
}

/// True where it is the first one ever.
fn add(book: &mut KeyBook, fresh: &IssuedKey) -> Result<bool, KeyError> {
    let is_first = book.keys.is_empty();
    if book.keys.iter().any(|key| key.is_valid() && key.name == fresh.name) {
        return Err(KeyError::Taken(fresh.name.clone()));
    }
    if book.keys.iter().filter(|key| key.is_valid()).count() >= KEYS {
        return Err(KeyError::Full);
    }
    book.keys.retain(|key| key.name != fresh.name);
    let revoked = book.keys.iter().filter(|key| !key.is_valid()).count();
    let mut too_many = revoked.saturating_sub(REVOKED);
    book.keys.retain(|key| {
        let is_kept = key.is_valid() || too_many == 0;
        too_many -= usize::from(!is_kept);
        is_kept
    });
    book.keys.push(fresh.clone());
    Ok(is_first)
}

fn strike(book: &mut KeyBook, name: &str, now_ms: i64) -> Result<IssuedKey, KeyError> {
    let found = book.keys.iter_mut().find(|key| key.is_valid() && key.name == name);
    let key = found.ok_or_else(|| KeyError::Unknown(name.to_owned()))?;
    key.revoked_at = Some(now_ms);
    Ok(key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> IssuedKey {
        IssuedKey::of(name, &SecretString::from("0".repeat(32)), 1)
    }

    #[test]
    fn a_name_has_one_valid_key_and_may_have_another_after_it() {
        let mut book = KeyBook::default();
        assert!(matches!(add(&mut book, &key("shop")), Ok(true)));
        assert!(matches!(add(&mut book, &key("shop")), Err(KeyError::Taken(_))));
        assert!(matches!(add(&mut book, &key("ci")), Ok(false)));
        assert_eq!(strike(&mut book, "shop", 7).unwrap().revoked_at, Some(7));
        assert!(matches!(strike(&mut book, "shop", 8), Err(KeyError::Unknown(_))));
        assert!(matches!(add(&mut book, &key("shop")), Ok(false)));
        let names: Vec<_> =
            book.keys.iter().map(|key| (key.name.as_str(), key.is_valid())).collect();
        assert_eq!(names, [("ci", true), ("shop", true)]);
    }

    #[test]
    fn the_book_is_bounded_and_never_empty_again() {
        let mut book = KeyBook::default();
        for n in 0..KEYS + REVOKED + 10 {
            let name = format!("n{n}");
            add(&mut book, &key(&name)).unwrap();
            strike(&mut book, &name, 1).unwrap();
        }
        assert_eq!(book.keys.len(), REVOKED + 1);
        for n in 0..KEYS {
            assert!(matches!(add(&mut book, &key(&format!("v{n}"))), Ok(false)));
        }
        assert!(matches!(add(&mut book, &key("one-more")), Err(KeyError::Full)));
    }
}
