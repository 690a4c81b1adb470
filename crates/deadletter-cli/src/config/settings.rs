//! The settings in types: what the commands work with.

use super::{
    key,
    layers::{Layers, Origin, Sourced},
    ledger,
    provider::ProviderName,
    table::{SETTINGS, nearest},
};
use crate::{
    exit::Exit,
    fault::{Fault, Result},
};
use deadletter::{
    core::{AccountName, Class, OnDoubt, Policy, UnixMs},
    outbound::Guard,
};
use jiff::SignedDuration;
use secrecy::SecretString;
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

/// More threads than this are a slip: plans end far below.
const MOST_THREADS: u32 = 10_000;
/// More submits of one task than this are a slip.
const MOST_SUBMITS: u32 = 100;
/// No attempt waits longer than a day.
const LONGEST_TIMEOUT_MS: i64 = 86_400_000;

/// Whoever waits for an answer asks every few seconds.
const SHORTEST_RETENTION_MS: i64 = 60_000;

/// Everything that can be set.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The store's URL.
    pub(crate) store: String,
    /// The same as it was written, and without its password: for people.
    pub(crate) shown_store: String,
    /// What names the store; none for the default.
    pub(crate) store_from: Option<String>,
    /// The account's name.
    pub(crate) account: AccountName,
    /// The kind of upstream.
    pub(crate) provider: ProviderName,
    /// Where jobs are submitted: in.php, or what is above createTask.
    pub(crate) submit_endpoint: String,
    /// Where answers are asked for: res.php, or the same again.
    pub(crate) result_endpoint: String,
    /// The account's key.
    pub(crate) key: Option<SecretString>,
    /// Where the key is looked for.
    pub(crate) key_env: String,
    /// The account's threads; none: upstream is asked.
    pub(crate) threads: Option<u32>,
    /// The rules' numbers.
    pub(crate) policy: Policy,
    /// For how long solved tasks are kept, in milliseconds; none: until somebody purges them.
    pub(crate) keep_solved_ms: Option<i64>,
    /// Which special addresses answers may be posted to, where a client asks for it.
    pub(crate) guard: Guard,
    /// Time-out of an attempt, by method, in milliseconds.
    pub(crate) timeouts_ms: BTreeMap<String, i64>,
    /// Error codes beyond the provider's own table.
    pub(crate) codes: BTreeMap<String, Class>,
    /// In tests: the store's clock runs so many times faster, since this instant.
    pub(crate) time_scale: Option<(f64, Option<UnixMs>)>,
}

impl Settings {
    /// Reads and checks every value.
    pub(crate) fn read(layers: &Layers) -> Result<Self> {
        let name = required(layers, "account.provider")?;
        let names = ProviderName::ALL.iter().map(|name| name.label());
        let provider: ProviderName = word("account.provider", name, names)?;
        let [submits_to, asks_at] = provider.endpoint_settings();
        let mut settings = Self {
            store: ledger::complete(&required(layers, "store")?.raw, layers.ledger.as_deref()),
            shown_store: without_password(&required(layers, "store")?.raw),
            store_from: required(layers, "store").map(named_by)?,
            account: parsed(layers, "account.name")?,
            provider,
            submit_endpoint: endpoint(layers, submits_to)?,
            result_endpoint: endpoint(layers, asks_at)?,
            key: key::find(layers)?,
            key_env: required(layers, "account.key_env")?.raw.clone(),
            threads: match layers.get("account.threads") {
                Some(_) => Some(number(layers, "account.threads", MOST_THREADS)?),
                None => None,
            },
            policy: policy(layers)?,
            keep_solved_ms: retention(layers, "retention.solved")?,
            guard: match layers.get("deliveries.allow") {
                Some(_) => parsed(layers, "deliveries.allow")?,
                None => Guard::default(),
            },
            timeouts_ms: layers
                .entries("timeouts")
                .map(|(method, value)| Ok((method.to_owned(), timeout(method, value)?)))
                .collect::<Result<_>>()?,
            codes: layers
                .entries("codes")
                .map(|(code, value)| Ok((code.to_owned(), class(code, value)?)))
                .collect::<Result<_>>()?,
            time_scale: time_scale(layers)?,
        };
        for (code, class) in provider.codes() {
            settings.codes.entry((*code).to_owned()).or_insert(*class);
        }
        Ok(settings)
    }

    /// Refuses a fast clock against anything but this machine: it would ask a real upstream many
    /// times too often.
    pub(crate) fn refuse_fast_clock(&self) -> Result<()> {
        let endpoints = [&self.submit_endpoint, &self.result_endpoint];
        if self.time_scale.is_none() || endpoints.iter().all(|url| is_loopback(url)) {
            return Ok(());
        }
        let name = super::table::TIME_SCALE_VARIABLE;
        Err(Fault::usage(format!("{name} is set, and an endpoint is not on this machine"))
            .why("a fast clock is for the simulator: upstream would be asked many times too often")
            .fix(format!("unset {name}")))
    }

    /// The key, or the fault that tells how to set one.
    pub(crate) fn key(&self) -> Result<&SecretString> {
        self.key.as_ref().ok_or_else(|| {
            Fault::new(Exit::Key, "there is no key for the account")
                .why(format!("the variable {} is not set, and no key file is named", self.key_env))
                .fix(format!(
                    "export {0}=..., write {0}=... into .env, or set account.key_file",
                    self.key_env
                ))
        })
    }
}

/// Every setting as `config show` prints it: key, value, origin.
pub(crate) fn shown(layers: &Layers) -> Result<Vec<(String, String, String)>> {
    let mut rows = Vec::new();
    for setting in SETTINGS {
        let value = layers.get(setting.key);
        let origin = value.map_or("not set".to_owned(), |value| value.origin.to_string());
        let text = match value {
            Some(_) if setting.secret => {
                key::find(layers)?.map_or(String::new(), |k| key::shown(&k))
            }
            Some(value) => without_password(&value.raw),
            None => String::new(),
        };
        rows.push((setting.key.to_owned(), text, origin));
    }
    if let Some(raw) = &layers.time_scale {
        let name = super::table::TIME_SCALE_VARIABLE.to_owned();
        rows.push(("time_scale (tests)".to_owned(), raw.clone(), name));
    }
    for table in super::table::OPEN_TABLES {
        for (key, value) in layers.entries(table) {
            rows.push((format!("{table}.{key}"), value.raw.clone(), value.origin.to_string()));
        }
    }
    Ok(rows)
}

/// A URL without the password that it may carry (`scheme://user:password@host`).
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((who, _)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:****{}", rest.get(who.len()..).unwrap_or_default())
        }
        None => url.to_owned(),
    }
}

/// Where somebody set a value; none where nobody did.
fn named_by(value: &Sourced) -> Option<String> {
    (value.origin != Origin::Default).then(|| value.origin.to_string())
}

fn required<'a>(layers: &'a Layers, key: &str) -> Result<&'a Sourced> {
    layers.get(key).ok_or_else(|| {
        Fault::usage(format!("{key} is not set"))
            .fix(format!("set it in deadletter.toml ({key} = ...) or by its flag or variable"))
    })
}

fn invalid(key: &str, value: &Sourced, why: impl Display) -> Fault {
    let at = &value.origin;
    let shown = without_password(&value.raw);
    Fault::usage(format!("{key} = {shown:?} ({at}) is not valid"))
        .why(why)
        .fix("correct it there, or leave it out to use the default")
}

fn parsed<T: FromStr<Err: Display>>(layers: &Layers, key: &str) -> Result<T> {
    let value = required(layers, key)?;
    value.raw.parse().map_err(|error: T::Err| invalid(key, value, error))
}

fn number(layers: &Layers, key: &str, most: u32) -> Result<u32> {
    let value = required(layers, key)?;
    match value.raw.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(invalid(key, value, format!("it is a whole number from 1 to {most}"))),
    }
}

fn endpoint(layers: &Layers, key: &str) -> Result<String> {
    let value = required(layers, key)?;
    let host = ["http://", "https://"].iter().find_map(|scheme| value.raw.strip_prefix(scheme));
    match host {
        Some(host)
            if !host.is_empty()
                && !host.starts_with('/')
                && !host.contains(char::is_whitespace) =>
        {
            Ok(value.raw.clone())
        }
        _ => Err(invalid(key, value, "it is a URL that begins with https:// or http://")),
    }
}

/// True where the host of `url` is this machine, beyond doubt.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Parsers do not agree on what stands before these.
    if authority.contains(['@', '\\']) {
        return false;
    }
    if let Some(rest) = authority.strip_prefix("[::1]") {
        return rest.is_empty() || rest.starts_with(':');
    }
    let host = authority.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

fn policy(layers: &Layers) -> Result<Policy> {
    let policy = Policy {
        first_submits: number(layers, "policy.first_submits", MOST_SUBMITS)?,
        redrive_submits: number(layers, "policy.redrive_submits", MOST_SUBMITS)?,
        max_submits: number(layers, "policy.max_submits", MOST_SUBMITS)?,
        on_doubt: on_doubt(layers)?,
        ..Policy::default()
    };
    if policy.first_submits > policy.max_submits {
        let value = required(layers, "policy.first_submits")?;
        return Err(invalid("policy.first_submits", value, "it is above policy.max_submits")
            .fix("lower it, or raise policy.max_submits"));
    }
    Ok(policy)
}

/// A time, or the word that says that nothing is deleted by itself.
fn retention(layers: &Layers, key: &str) -> Result<Option<i64>> {
    let value = required(layers, key)?;
    if value.raw == "never" {
        return Ok(None);
    }
    let ms =
        value.raw.parse::<SignedDuration>().ok().and_then(|d| i64::try_from(d.as_millis()).ok());
    match ms {
        Some(ms) if ms >= SHORTEST_RETENTION_MS => Ok(Some(ms)),
        _ => {
            Err(invalid(key, value, "it is a time of at least a minute like \"24h\", or \"never\""))
        }
    }
}

fn timeout(method: &str, value: &Sourced) -> Result<i64> {
    let ms =
        value.raw.parse::<SignedDuration>().ok().and_then(|d| i64::try_from(d.as_millis()).ok());
    match ms {
        Some(ms) if (1..=LONGEST_TIMEOUT_MS).contains(&ms) => Ok(ms),
        _ => Err(invalid(
            &format!("timeouts.{method}"),
            value,
            "it is a time like \"120s\" or \"3m\"",
        )),
    }
}

fn on_doubt(layers: &Layers) -> Result<OnDoubt> {
    let key = "policy.on_doubt";
    let words = OnDoubt::ALL.iter().map(|choice| choice.label());
    word(key, required(layers, key)?, words)
}

fn class(code: &str, value: &Sourced) -> Result<Class> {
    word(&format!("codes.{code}"), value, Class::ALL.iter().map(|class| class.label()))
}

/// One of a few words.
fn word<T: FromStr>(
    key: &str,
    value: &Sourced,
    known: impl Iterator<Item = &'static str> + Clone,
) -> Result<T> {
    value.raw.parse().map_err(|_| {
        let words = known.clone().collect::<Vec<_>>().join(", ");
        let fault = invalid(key, value, format!("it is one of: {words}"));
        match nearest(&value.raw, known) {
            Some(near) => fault.fix(format!("did you mean {near}?")),
            None => fault.fix("write one of these words, or leave the setting out"),
        }
    })
}

/// `SPEED` or `SPEED@ANCHOR_MS`; processes that share a store share the anchor.
fn time_scale(layers: &Layers) -> Result<Option<(f64, Option<UnixMs>)>> {
    let Some(raw) = &layers.time_scale else { return Ok(None) };
    let (speed, anchor) = match raw.split_once('@') {
        Some((speed, anchor)) => (speed, anchor.parse().map(|ms| Some(UnixMs(ms))).ok()),
        None => (raw.as_str(), Some(None)),
    };
    match (speed.parse::<f64>(), anchor) {
        (Ok(speed), Some(anchor)) if speed.is_finite() && speed >= 1.0 => Ok(Some((speed, anchor))),
        _ => {
            Err(Fault::usage(format!("{}={raw:?} is not valid", super::table::TIME_SCALE_VARIABLE))
                .why("it is a number from 1 on, and perhaps @ and an instant in milliseconds")
                .fix("unset it: it is for tests against the simulator"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags, load};

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("deadletter.toml"), text).expect("written");
        let environment = Environment::of(variables, dir.path());
        Settings::read(&load(&environment, &Flags::default())?)
    }

    #[test]
    fn everything_that_can_be_set_arrives() {
        let settings = read(
            "store = \"memory:\"\n[account]\nname = \"a\"\nthreads = 8\n[policy]\nmax_submits = 9\n\
             on_doubt = \"dead_letter\"\n[retention]\nsolved = \"never\"\n\
             [deliveries]\nallow = [\"10.0.0.0/8\"]\n[timeouts]\nturnstile = \"90s\"\n[codes]\nERROR_X = \"transient\"\n",
            &[("CAPTCHAAI_API_KEY", "0123456789abcdef"), ("DEADLETTER_TIME_SCALE", "50@7")],
        )
        .expect("valid");
        assert_eq!((settings.threads, settings.policy.max_submits), (Some(8), 9));
        assert_eq!(settings.policy.on_doubt, OnDoubt::DeadLetter);
        assert_eq!(settings.keep_solved_ms, None);
        assert_eq!(Ok(&settings.guard), "10.0.0.0/8".parse().as_ref());
        assert_eq!(settings.timeouts_ms.get("turnstile"), Some(&90_000));
        assert_eq!(settings.codes.get("ERROR_X"), Some(&Class::Transient));
        assert!(settings.key().is_ok());
        assert_eq!(settings.time_scale, Some((50.0, Some(UnixMs(7)))));
    }

    #[test]
    fn a_value_out_of_range_names_itself_and_its_origin() {
        for (text, part) in [
            ("[account]\nthreads = 0", "account.threads"),
            ("[account]\nthreads = \"many\"", "account.threads"),
            ("[account]\nsubmit_endpoint = \"ftp://x/in.php\"", "account.submit_endpoint"),
            ("[account]\nprovider = \"other\"", "account.provider"),
            ("[policy]\nfirst_submits = 8", "policy.first_submits"),
            ("[policy]\non_doubt = \"perhaps\"", "policy.on_doubt"),
            ("[retention]\nsolved = \"1s\"", "retention.solved"),
            ("[deliveries]\nallow = \"10.0.0.1/8\"", "deliveries.allow"),
            ("[timeouts]\nturnstile = \"120\"", "timeouts.turnstile"),
            ("[codes]\nERROR_X = \"transiant\"", "codes.ERROR_X"),
        ] {
            let fault = read(&format!("store = \"memory:\"\n{text}"), &[]).expect_err(text);
            assert!(fault.what.contains(part), "{}", fault.what);
            assert!(fault.what.contains("deadletter.toml:3"), "{}", fault.what);
        }
    }

    #[test]
    fn a_word_that_is_none_of_a_settings_words_is_told_beside_them() {
        let fault = read("store = \"memory:\"\n[policy]\non_doubt = \"resubmitt\"", &[])
            .expect_err("there is no such word");
        let lines: Vec<_> = fault.lines().into_iter().map(|(_, line)| line).collect();
        assert!(lines[0].contains("policy.on_doubt = \"resubmitt\""), "{lines:?}");
        assert_eq!(lines[1..], ["it is one of: resubmit, dead_letter", "did you mean resubmit?"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_in_a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deadletter.toml");
        std::fs::write(&path, "store = \"memory:\"\n[account]\nkey = \"0123456789abcdef\"\n")
            .expect("written");
        let read_with_mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            let environment = Environment::of(&[], dir.path());
            Settings::read(&load(&environment, &Flags::default())?)
        };
        let fault = read_with_mode(0o644).expect_err("others can read it");
        assert_eq!(fault.exit, Exit::Key);
        assert!(read_with_mode(0o600).expect("private").key().is_ok());
    }

    #[test]
    fn without_a_key_the_fault_says_how_to_set_one() {
        let settings = read("store = \"memory:\"", &[]).expect("valid");
        let fault = settings.key().expect_err("there is none");
        assert_eq!(fault.exit, Exit::Key);
        assert!(fault.fix.expect("advice").contains("CAPTCHAAI_API_KEY"));
    }

    #[test]
    fn a_password_in_a_store_url_is_not_shown() {
        assert_eq!(without_password("postgres://me:pw@host/db"), "postgres://me:****@host/db");
        assert_eq!(without_password("rediss://:pw@host?prefix=x"), "rediss://:****@host?prefix=x");
        assert_eq!(without_password("sqlite:/a/b"), "sqlite:/a/b");
    }
}
