//! What a `redis://` URL names: a server, or a node of a cluster, and a prefix in it.

use crate::{Error, Result};
use secrecy::SecretString;
use std::path::PathBuf;
use url::Url;

/// Where the URL names no prefix.
const PREFIX: &str = "deadletter";
/// Long enough for any name, and short enough to stand in every key.
const PREFIX_LEN: usize = 63;
/// The port that servers have by themselves.
const PORT: u16 = 6_379;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Place {
    /// From `HOST:PORT`, as nodes of a cluster name each other.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// Where a store is.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) database: u32,
    /// Under TLS, with a certificate that names the host and is signed by somebody who is trusted.
    pub(super) tls: bool,
    /// Certificates in PEM that are trusted instead of the usual ones.
    pub(super) roots: Option<PathBuf>,
    /// What every key begins with.
    pub(super) prefix: String,
    /// The folder in which submits are noted.
    pub(super) ledger: Option<PathBuf>,
}

/// True for a URL of this kind of store.
#[must_use]
pub fn is_redis(url: &str) -> bool {
    url.starts_with("redis://") || url.starts_with("rediss://")
}

/// The folder that a URL names for notes of submits, if it does.
#[must_use]
pub fn ledger_of(url: &str) -> Option<PathBuf> {
    Target::parse(url).ok()?.ledger
}

/// Checks a URL without asking its server. Errors: `BadUrl`.
pub(crate) fn refuse_bad_url(url: &str) -> Result<()> {
    Target::parse(url).map(drop)
}

impl Target {
    /// Reads a URL. Errors: `BadUrl`, which repeats nothing that may be secret.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let url = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it names no host: write redis://HOST"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            n => n.parse().map_err(|_| bad("a database is named by its number: redis://HOST/1"))?,
        };
        let user = Some(plain(url.username())).filter(|user| !user.is_empty());
        let mut target = Self {
            place: Place { host, port: url.port().unwrap_or(PORT) },
            user,
            password: url.password().map(|password| plain(password).into()),
            database,
            tls: url.scheme() == "rediss",
            roots: None,
            prefix: PREFIX.to_owned(),
            ledger: None,
        };
        // An `@` behind the `?` is one of a password that holds an `?`: nothing of it is repeated.
        let is_whole = !url.query().unwrap_or_default().contains('@');
        for (name, value) in url.query_pairs() {
            if !target.take(&name, &value)? {
                let named = if is_whole { format!("`{name}` is none of ") } else { String::new() };
                return Err(bad(&format!(
                    "{named}its parameters: prefix=, sslrootcert= and ledger="
                )));
            }
        }
        if target.roots.is_some() && !target.tls {
            return Err(bad("sslrootcert= is for TLS: write rediss://"));
        }
        if target.user.is_some() && target.password.is_none() {
            return Err(bad("a user needs a password: redis://USER:PASSWORD@HOST"));
        }
        Ok(target)
    }

    /// Takes in a parameter; false where there is no such one.
    fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "prefix" if is_plain_name(value) => self.prefix = value.to_owned(),
            "prefix" => {
                return Err(bad("prefix= takes letters, digits, `_`, `-` and `.`, at most 63"));
            }
            "sslrootcert" => self.roots = Some(PathBuf::from(value)),
            "ledger" if value.is_empty() => return Err(bad("ledger= takes a folder")),
            "ledger" => self.ledger = Some(PathBuf::from(value)),
            // In its usual place every message about the URL leaves it out.
            "password" => return Err(bad("a password stands before the host: :PASSWORD@HOST")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The URL without password and settings: for people.
    pub(super) fn shown(&self) -> String {
        let Place { host, port } = &self.place;
        let scheme = if self.tls { "rediss" } else { "redis" };
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let port = if *port == PORT { String::new() } else { format!(":{port}") };
        let database = match self.database {
            0 => String::new(),
            n => format!("/{n}"),
        };
        let prefix = match self.prefix.as_str() {
            PREFIX => String::new(),
            prefix => format!("?prefix={prefix}"),
        };
        format!("{scheme}://{user}{host}{port}{database}{prefix}")
    }
}

/// A name that neither ends the braces around it nor the part of a key.
fn is_plain_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=PREFIX_LEN).contains(&name.len()) && name.bytes().all(is_plain)
}

/// What stands behind percent signs.
fn plain(text: &str) -> String {
    let field = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    let decoded = form_urlencoded::parse(field.as_bytes()).next();
    decoded.map_or_else(String::new, |(_, value)| value.into_owned())
}

fn bad(why: &str) -> Error {
    Error::BadUrl(format!("the URL of a Redis store cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn parsed(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn what_is_left_out_is_the_usual() {
        let target = parsed("redis://cache.example");
        assert_eq!((target.place.port, target.database, target.tls), (6_379, 0, false));
        assert_eq!((target.prefix.as_str(), target.user.is_none()), ("deadletter", true));
        assert_eq!(target.shown(), "redis://cache.example");
    }

    #[test]
    fn every_part_is_taken_and_the_password_is_not_shown() {
        let target =
            parsed("rediss://me:a%2Bb%26+c@[::1]:7000/3?prefix=team-1&sslrootcert=/etc/a%20b.pem");
        let password = target.password.as_ref().map(ExposeSecret::expose_secret);
        assert_eq!((target.user.as_deref(), password), (Some("me"), Some("a+b&+c")));
        assert_eq!(target.place, Place { host: "::1".to_owned(), port: 7_000 });
        assert_eq!(target.roots, Some(PathBuf::from("/etc/a b.pem")));
        assert_eq!(target.shown(), "rediss://me@[::1]:7000/3?prefix=team-1");
        assert_eq!(parsed("redis://:x@h").shown(), "redis://h");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_the_password() {
        for url in [
            "redis://",
            "redis://me@host",
            "redis://me:hunter2@host:port",
            "redis://me:hunter2@host/hunter2",
            "redis://me:hunter2@host?prefix={x}",
            "redis://me:hunter2@host?prefix=",
            "redis://me:hunter2@host?sslrootcert=/x",
            "redis://me:hunter2@host?colour=hunter2",
            "redis://host?password=hunter2",
            "redis://me:1?hunter2&x@host",
        ] {
            let told = Target::parse(url).err().map(|error| error.to_string()).expect(url);
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_parameter_that_there_is_not_is_named_with_those_that_there_are() {
        let told = refuse_bad_url("redis://host?prefx=a").expect_err("none").to_string();
        assert!(told.contains("`prefx`") && told.contains("prefix="), "{told}");
    }

    #[test]
    fn nodes_of_a_cluster_are_named_with_their_port() {
        let place = |host: &str, port| Some(Place { host: host.to_owned(), port });
        assert_eq!(Place::parse("10.0.0.1:7001"), place("10.0.0.1", 7_001));
        assert_eq!(Place::parse("::1:7001"), place("::1", 7_001));
        assert_eq!(Place::parse("nowhere"), None);
    }
}
