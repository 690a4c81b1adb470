//! The account's key: from a variable, a key file, or a private configuration file.

use super::layers::{Layers, Origin};
use crate::fault::{Fault, Result};
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;

/// A key is a line, not a file.
const KEY_LIMIT: usize = 4_096;
/// Shown of a secret, if at least twice as much stays hidden.
const SHOWN_CHARS: usize = 4;

/// The key, or none where nobody set one.
pub(super) fn find(layers: &Layers) -> Result<Option<SecretString>> {
    let set = layers.get("account.key");
    let by_variable =
        set.filter(|value| matches!(value.origin, Origin::Variable(_) | Origin::EnvFile { .. }));
    if let Some(value) = by_variable {
        return checked(&value.raw, &value.origin).map(Some);
    }
    if let Some(value) = layers.get("account.key_file") {
        let path = Path::new(&value.raw);
        let failed = |error| {
            Fault::new(crate::exit::Exit::Key, "cannot read the key file")
                .because(error)
                .fix("name a file that you can read, or set the variable CAPTCHAAI_API_KEY")
        };
        private(path, "the key file")?;
        let text = std::fs::read_to_string(path).map_err(failed)?;
        return checked(text.trim(), &value.origin).map(Some);
    }
    let Some(value) = set else { return Ok(None) };
    checked(&value.raw, &value.origin).map(Some)
}

/// The last characters of a secret, for people who have several.
pub(crate) fn masked(secret: &str) -> String {
    let count = secret.chars().count();
    let shown = if count >= 3 * SHOWN_CHARS { SHOWN_CHARS } else { 0 };
    let tail: String = secret.chars().skip(count - shown).collect();
    format!("****{tail}")
}

fn checked(text: &str, origin: &Origin) -> Result<SecretString> {
    let fault = |why: &str| {
        Err(Fault::new(crate::exit::Exit::Key, format!("the key from {origin} is not a key"))
            .why(why)
            .fix("copy the key again: it is one word"))
    };
    if text.is_empty() || text.len() > KEY_LIMIT {
        return fault("it is empty or too long");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return fault("it holds a space, a line end or a control character");
    }
    Ok(SecretString::from(text.to_owned()))
}

/// Refuses a file that others can read.
#[cfg(unix)]
pub(super) fn private(path: &Path, what: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let fault = |what: String| Fault::new(crate::exit::Exit::Key, what);
    let shown = path.display();
    let mode = std::fs::metadata(path)
        .map_err(|error| {
            fault(format!("cannot read {shown}"))
                .because(error)
                .fix("name a file that exists, or use the variable CAPTCHAAI_API_KEY")
        })?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(fault(format!("{what} must be readable by you alone"))
        .why(format!("{shown} has mode {:03o}", mode & 0o777))
        .fix(format!("chmod 600 {shown}, or use the variable CAPTCHAAI_API_KEY")))
}

#[cfg(not(unix))]
pub(super) fn private(_path: &Path, _what: &str) -> Result<()> {
    Ok(())
}

/// The key as `config show` prints it.
pub(super) fn shown(key: &SecretString) -> String {
    masked(key.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_shows_nothing_of_itself() {
        assert_eq!(masked("0123456789abcdef0123456789abcdef"), "****cdef");
        assert_eq!(masked("secret"), "****");
        assert_eq!(masked(""), "****");
    }

    #[test]
    fn a_key_never_holds_a_line_end() {
        assert!(checked("abc\ndef", &Origin::Default).is_err());
        assert!(checked("", &Origin::Default).is_err());
        assert!(checked("abc", &Origin::Default).is_ok());
    }
}
