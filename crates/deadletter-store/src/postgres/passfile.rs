//! Passwords that stand in a file, as PostgreSQL's own programs read them.
//!
//! A line is `host:port:database:user:password`; the first one that fits counts, `*` fits everything,
//! and `\` stands before a `:` or `\` that is meant. A socket's host is `localhost` there.
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use super::url::{Target, is_postgres};
use std::fmt::Write as _;
use tokio_postgres::config::Host;

/// The URL with the password that `file` has for it; as it is where it names one, and where none fits.
#[must_use]
pub fn with_password(url: &str, file: &str) -> String {
    added(url, file).unwrap_or_else(|| url.to_owned())
}

/// True where a password may stand elsewhere: it is no other kind of store, and names none.
#[must_use]
pub fn lacks_password(url: &str) -> bool {
    is_postgres(url)
        && Target::parse(url).is_ok_and(|target| target.config.get_password().is_none())
}

fn added(url: &str, file: &str) -> Option<String> {
    if !lacks_password(url) {
        return None;
    }
    let config = Target::parse(url).ok()?.config;
    let user = config.get_user()?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(_)) => "localhost".to_owned(),
        None => config.get_hostaddrs().first()?.to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5_432).to_string();
    let database = config.get_dbname().unwrap_or(user);
    let wanted = [host.as_str(), &port, database, user];
    let password = file.lines().find_map(|line| fitting(line, wanted))?;
    let (scheme, rest) = url.split_once("://")?;
    let (user, rest) = rest.split_once('@')?;
    let user = user.trim_end_matches(':');
    Some(format!("{scheme}://{user}:{}@{rest}", encoded(&password)))
}

/// The password of a line that fits.
fn fitting(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // What is left is the password.
            ':' if fields.len() <= wanted.len() => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(letters.next()),
            letter => fields.last_mut()?.push(letter),
        }
    }
    let password = fields.pop().filter(|_| fields.len() == wanted.len())?;
    let fits = fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
    fits.then_some(password)
}

/// As it stands in a URL.
fn encoded(password: &str) -> String {
    password.bytes().fold(String::new(), |mut text, byte| {
        match byte.is_ascii_alphanumeric() {
            true => text.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n\
        db.example:5432:tasks:me:one\n\
        db.example:6432:*:me:t@w/o:3\n\
        localhost:*:*:me:socket\n\
        \\:\\:1:*:*:*:six\\:\\\\\n\
        *:*:*:you:any\n\
        broken line\n";

    fn password(url: &str) -> Option<Vec<u8>> {
        let target = Target::parse(&with_password(url, FILE)).expect(url);
        target.config.get_password().map(<[u8]>::to_vec)
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        for (url, expected) in [
            ("postgres://me@db.example/tasks", Some("one")),
            ("postgresql://me@db.example/tasks?schema=a", Some("one")),
            ("postgres://me@db.example/other", None),
            ("postgres://me@db.example:6432/other", Some("t@w/o:3")),
            ("postgres://me@%2Fvar%2Frun/x", Some("socket")),
            ("postgres://me@[::1]/x", Some("six:\\")),
            ("postgres://you@elsewhere/x", Some("any")),
            ("postgres://she@elsewhere/x", None),
            ("postgres://me:own@db.example/tasks", Some("own")),
        ] {
            assert_eq!(password(url).as_deref(), expected.map(str::as_bytes), "{url}");
        }
        assert_eq!(with_password("sqlite:x.db", FILE), "sqlite:x.db");
        assert_eq!(with_password("postgres://", FILE), "postgres://");
    }
}
