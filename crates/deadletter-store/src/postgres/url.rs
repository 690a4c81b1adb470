//! What a `postgres://` URL names: a server, a database, and a schema in it.

use crate::{Error, Result};
use std::{path::PathBuf, time::Duration};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

/// The schema that holds the tables where the URL names none.
const SCHEMA: &str = "deadletter";
/// PostgreSQL cuts longer names off.
const NAME_LEN: usize = 63;
/// Connections of one process where the URL says nothing: one for its beats, a committer, a claim
/// for each lane and some readers at once, and twelve such processes fit in a server's usual 100.
const CONNECTIONS: usize = 8;
/// More would only queue inside the server.
const MOST_CONNECTIONS: usize = 100;
/// A server that is there answers a connection far sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A cut line is noticed before the worker behind it is declared dead twice over.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The parameters that are read here.
const OURS: &str = "schema=, sslmode=, sslrootcert= and connections=";
/// The driver's, as far as they are of use here.
const THEIRS: &str = "application_name=, connect_timeout=, options=, hostaddr=, target_session_attrs=, \
     channel_binding=, load_balance_hosts=, keepalives= and tcp_user_timeout=";

/// How a connection is kept from being read and forged on its way, in the words that users of
/// PostgreSQL know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// `disable`: in the clear.
    Disable,
    /// `allow`: in the clear where the server allows that, else encrypted, whoever it is.
    Allow,
    /// `prefer`: encrypted where the server can, whoever it is.
    Prefer,
    /// `require`: encrypted, whoever the server is.
    Require,
    /// `verify-ca`: encrypted, and the certificate is signed by somebody who is trusted, whatever
    /// name it has.
    VerifyCa,
    /// `verify-full`: encrypted, and the certificate names the host and is signed by somebody
    /// who is trusted.
    VerifyFull,
}

/// Where a store is.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// Certificates in PEM that are trusted instead of the usual ones.
    pub(super) roots: Option<PathBuf>,
    /// A name that needs no quotes.
    pub(super) schema: String,
    pub(super) connections: usize,
}

/// True for a URL of this kind of store.
pub(crate) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Checks a URL without asking its server. Errors: `BadUrl`.
pub(crate) fn refuse_bad_url(url: &str) -> Result<()> {
    Target::parse(url).map(drop)
}

impl Target {
    /// Reads a URL. Errors: `BadUrl`, which repeats nothing that may be secret.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut target = Self {
            config: Config::new(),
            tls: Tls::Prefer,
            roots: None,
            schema: SCHEMA.to_owned(),
            connections: CONNECTIONS,
        };
        let mut theirs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if !target.take(pair)? {
                theirs.push(pair);
            }
        }
        let place = format!("{place}?{}", theirs.join("&"));
        target.config = place
            .parse()
            .map_err(|error: tokio_postgres::Error| bad(&explained(&cause(&error))))?;
        target.complete()?;
        Ok(target)
    }

    /// Takes in a parameter that is ours; false where it is the driver's.
    fn take(&mut self, pair: &str) -> Result<bool> {
        let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
            return Ok(true);
        };
        match &*name {
            "schema" => {
                if !is_plain_name(&value) {
                    return Err(bad(
                        "schema= takes a name of lower-case letters, digits and `_`, at most 63",
                    ));
                }
                self.schema = value.into_owned();
            }
            "sslmode" => {
                self.tls = match &*value {
                    "disable" => Tls::Disable,
                    "allow" => Tls::Allow,
                    "prefer" => Tls::Prefer,
                    "require" => Tls::Require,
                    "verify-ca" => Tls::VerifyCa,
                    "verify-full" => Tls::VerifyFull,
                    _ => {
                        return Err(bad(
                            "sslmode= takes disable, allow, prefer, require, verify-ca or \
                             verify-full",
                        ));
                    }
                };
            }
            // In its usual place every message about the URL leaves it out.
            "password" => return Err(bad("a password stands before the host: USER:PASSWORD@HOST")),
            "sslrootcert" => self.roots = Some(PathBuf::from(&*value)),
            "connections" => {
                let n = value.parse().ok().filter(|n| (2..=MOST_CONNECTIONS).contains(n));
                self.connections = n.ok_or_else(|| bad("connections= takes 2 to 100"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What the URL leaves open.
    fn complete(&mut self) -> Result<()> {
        let config = &mut self.config;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(bad("it names no host: write postgres://USER:PASSWORD@HOST/DATABASE"));
        }
        if config.get_user().is_none() {
            return Err(bad("it names no user: write postgres://USER:PASSWORD@HOST/DATABASE"));
        }
        match (self.tls, &self.roots) {
            // As libpq has it: who names authorities wants them asked.
            (Tls::Require, Some(_)) => self.tls = Tls::VerifyCa,
            // One of the usual authorities would vouch for anybody.
            (Tls::VerifyCa, None) => {
                return Err(bad("sslmode=verify-ca needs sslrootcert=FILE, the authority's own"));
            }
            _ => {}
        }
        config.ssl_mode(match self.tls {
            Tls::Disable | Tls::Allow => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyCa | Tls::VerifyFull => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("deadletter");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(LINE_TIMEOUT);
        }
        config.keepalives_idle(LINE_TIMEOUT).keepalives_interval(LINE_TIMEOUT / 4);
        config.keepalives_retries(4);
        Ok(())
    }

    /// How a connection is made to a server that has refused one in the clear; none where the URL
    /// says all.
    pub(super) fn encrypted(&self) -> Option<Config> {
        let is_left_open = self.tls == Tls::Allow;
        is_left_open.then(|| self.config.clone().ssl_mode(SslMode::Require).clone())
    }

    /// The same with one connection.
    pub(super) fn of_one(&self) -> Self {
        Self { connections: 1, ..self.clone() }
    }

    /// The same with one connection less; it has two at least.
    pub(super) fn without_one(mut self) -> Self {
        self.connections = self.connections.saturating_sub(1).max(1);
        self
    }

    /// The URL without password and settings: for people.
    pub(super) fn shown(&self) -> String {
        let user = self.config.get_user().unwrap_or_default();
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string().replace('/', "%2F"),
        });
        let hosts: Vec<String> = match self.config.get_hosts().is_empty() {
            true => self.config.get_hostaddrs().iter().map(ToString::to_string).collect(),
            false => hosts.collect(),
        };
        let ports = self.config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).filter(|port| **port != 5_432);
        let places = hosts.iter().enumerate().map(|(at, host)| match port(at) {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        });
        let places = places.collect::<Vec<_>>().join(",");
        let database = self.config.get_dbname().unwrap_or(user);
        let schema = match self.schema.as_str() {
            SCHEMA => String::new(),
            schema => format!("?schema={schema}"),
        };
        format!("postgres://{user}@{places}/{database}{schema}")
    }
}

/// A name that SQL takes without quotes, and that is not the server's own.
fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= NAME_LEN
        && !name.starts_with("pg_")
}

/// Why the driver cannot read it; it names parameters and never repeats their values.
fn cause(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Where a parameter is unknown, those that there are.
fn explained(why: &str) -> String {
    match why.contains("unknown option") {
        true => format!("{why}; its parameters are {OURS}, and of libpq's {THEIRS}"),
        false => why.to_owned(),
    }
}

fn bad(why: &str) -> Error {
    Error::BadUrl(format!("the URL of a PostgreSQL store cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn what_is_left_out_is_the_usual() {
        let target = parsed("postgres://me:hunter2@db.example/tasks");
        assert_eq!((target.schema.as_str(), target.tls), ("deadletter", Tls::Prefer));
        assert_eq!(target.config.get_password(), Some(b"hunter2".as_slice()));
        assert_eq!(target.shown(), "postgres://me@db.example/tasks");
    }

    #[test]
    fn our_parameters_are_taken_and_theirs_are_passed_on() {
        let target = parsed(
            "postgresql://me@[::1]:6432/x?schema=team_1&sslmode=verify-full&connections=3\
             &sslrootcert=/etc/a%20b.pem&application_name=mine&connect_timeout=1",
        );
        assert_eq!((target.schema.as_str(), target.tls), ("team_1", Tls::VerifyFull));
        assert_eq!((target.connections, target.config.get_ports()), (3, [6_432].as_slice()));
        assert_eq!(target.roots, Some(PathBuf::from("/etc/a b.pem")));
        assert_eq!(target.config.get_application_name(), Some("mine"));
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(1)));
        assert_eq!(target.shown(), "postgres://me@[::1]:6432/x?schema=team_1");
    }

    #[test]
    fn who_names_an_authority_has_it_asked() {
        for (query, tls) in [
            ("sslmode=allow", Tls::Allow),
            ("sslmode=require", Tls::Require),
            ("sslmode=require&sslrootcert=/a.pem", Tls::VerifyCa),
            ("sslmode=verify-ca&sslrootcert=/a.pem", Tls::VerifyCa),
            ("sslrootcert=/a.pem&sslmode=verify-full", Tls::VerifyFull),
        ] {
            assert_eq!(parsed(&format!("postgres://me@h/x?{query}")).tls, tls, "{query}");
        }
    }

    #[test]
    fn a_socket_is_named_by_its_folder() {
        let target = parsed("postgres://me@%2Fvar%2Frun%2Fpostgresql/x");
        assert_eq!(target.shown(), "postgres://me@%2Fvar%2Frun%2Fpostgresql/x");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_the_password() {
        for url in [
            "postgres://",
            "postgres://host/x",
            "postgres://me:hunter2@/x",
            "postgres://me:hunter2@h:port/x",
            "postgres://me:hunter2@h/x?schema=a;b",
            "postgres://me:hunter2@h/x?schema=pg_mine",
            "postgres://me:hunter2@h/x?sslmode=hunter2",
            "postgres://me:hunter2@h/x?sslmode=verify-ca",
            "postgres://me:hunter2@h/x?channel_binding=hunter2",
            "postgres://me:hunter2@h/x?connections=1",
            "postgres://me:hunter2@h/x?colour=hunter2",
            "postgres://me@h/x?password=hunter2",
        ] {
            let told = Target::parse(url).err().map(|error| error.to_string()).expect(url);
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
