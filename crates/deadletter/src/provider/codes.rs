//! What each error code means: the table's type, the user's additions, and the look-up.
//!
//! One table serves classification, `explain` and the documentation, so that they cannot differ.

use super::table::TABLE;
use crate::provider::Explanation;
use deadletter_core::Class;
use std::collections::BTreeMap;

/// Everything that is known of one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// As upstream spells it; our own words (`NETWORK`, `TIMEOUT`) stand in the same table.
    pub code: &'static str,
    /// What it means as the answer to a submit.
    pub on_submit: Class,
    /// What it means as the answer to a poll.
    pub on_poll: OnPoll,
    /// The time that the code itself asks for, in milliseconds.
    pub retry_after_ms: Option<i64>,
    /// What happened, in one sentence.
    pub meaning: &'static str,
    /// What the reader can do.
    pub advice: &'static str,
}

/// What a code means as the answer to a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoll {
    /// A verdict.
    Is(Class),
    /// No verdict: ask again.
    NotReady,
}

/// A code that the user's configuration adds, or gives another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraCode {
    /// What it means, on submits and on polls.
    pub class: Class,
    /// The time to wait, in milliseconds.
    pub retry_after_ms: Option<i64>,
}

/// What a code came down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) on_submit: Class,
    pub(super) on_poll: OnPoll,
    pub(super) retry_after_ms: Option<i64>,
    /// False where nobody has given the code a meaning of their own.
    pub(super) is_ours: bool,
}

/// The whole table, in the order of the documentation.
#[must_use]
pub const fn all() -> &'static [Code] {
    TABLE
}

/// The table's row for a code; white space and case do not matter.
#[must_use]
pub fn find(code: &str) -> Option<&'static Code> {
    let code = normal(code);
    TABLE.iter().find(|row| row.code == code)
}

/// The codes of one account: the table and the user's additions, which win.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes {
    extra: BTreeMap<String, ExtraCode>,
}

impl Codes {
    pub(super) fn with(extra: impl IntoIterator<Item = (String, ExtraCode)>) -> Self {
        let extra = extra.into_iter().map(|(code, extra)| (normal(&code), extra)).collect();
        Self { extra }
    }

    pub(super) fn knows(&self, code: &str) -> bool {
        self.extra.contains_key(code) || find(code).is_some()
    }

    /// A code that no table knows is never retried blindly.
    pub(super) fn meaning(&self, code: &str) -> Meaning {
        if let Some(extra) = self.extra.get(code) {
            let ExtraCode { class, retry_after_ms } = *extra;
            let on_poll = OnPoll::Is(class);
            return Meaning { on_submit: class, on_poll, retry_after_ms, is_ours: false };
        }
        let row = find(code);
        Meaning {
            on_submit: row.map_or(Class::Unknown, |row| row.on_submit),
            on_poll: row.map_or(OnPoll::Is(Class::Unknown), |row| row.on_poll),
            retry_after_ms: row.and_then(|row| row.retry_after_ms),
            is_ours: row.is_some(),
        }
    }

    pub(super) fn explain(&self, code: &str) -> Option<Explanation> {
        let code = normal(code);
        let row = find(&code);
        let extra = self.extra.get(&code);
        let class = extra.map(|extra| extra.class).or_else(|| row.map(|row| row.on_submit))?;
        Some(Explanation {
            class,
            meaning: row.map_or("A code that your configuration names.", |row| row.meaning).into(),
            advice: row
                .map_or("See your upstream's documentation of this code.", |row| row.advice)
                .into(),
            code,
        })
    }
}

/// The spelling that codes are looked up by: `ERROR: 1001` is `ERROR:1001`.
pub(super) fn normal(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code of the error table of the protocol's description, by hand.
    const DESCRIBED: &[&str] = &[
        "ERROR_WRONG_USER_KEY",
        "ERROR_KEY_DOES_NOT_EXIST",
        "ERROR_IP_NOT_ALLOWED",
        "ERROR_ACCOUNT_SUSPENDED",
        "IP_BANNED",
        "ERROR_IP_BANNED",
        "ERROR_ZERO_BALANCE",
        "ERROR_NO_SLOT_AVAILABLE",
        "MAX_USER_TURN",
        "ERROR_TOO_MUCH_REQUESTS",
        "ERROR_PAGEURL",
        "ERROR_GOOGLEKEY",
        "ERROR_WRONG_GOOGLEKEY",
        "ERROR_SITEKEY",
        "ERROR_BAD_TOKEN_OR_PAGEURL",
        "ERROR_BAD_PARAMETERS",
        "ERROR_ZERO_CAPTCHA_FILESIZE",
        "ERROR_TOO_BIG_CAPTCHA_FILESIZE",
        "ERROR_IMAGE_DIMENSIONS_TOO_LARGE",
        "ERROR_WRONG_FILE_EXTENSION",
        "ERROR_IMAGE_TYPE_NOT_SUPPORTED",
        "ERROR_UPLOAD",
        "ERROR_EMPTY_CAPTCHA",
        "ERROR_CAPTCHAIMAGE_BLOCKED",
        "ERROR_DOMAIN_NOT_ALLOWED",
        "ERROR_PROXY_FORMAT",
        "ERROR_BAD_PROXY",
        "ERROR_PROXY_CONNECTION_FAILED",
        "ERROR_SERVER_ERROR",
        "ERROR_INTERNAL_SERVER_ERROR",
        "CAPCHA_NOT_READY",
        "CAPTCHA_NOT_READY",
        "ERROR_CAPTCHA_UNSOLVABLE",
        "ERROR_BAD_DUPLICATES",
        "ERROR_WRONG_CAPTCHA_ID",
        "ERROR_NO_SUCH_CAPCHA_ID",
        "ERROR_TOKEN_EXPIRED",
        "ERROR_WRONG_ID_FORMAT",
        "ERROR_EMPTY_ACTION",
        "ERROR: 1001",
        "ERROR: 1002",
        "ERROR: 1003",
        "ERROR: 1004",
        "ERROR: 1005",
    ];

    #[test]
    fn every_described_code_has_a_row_and_an_explanation() {
        for code in DESCRIBED {
            assert!(find(code).is_some(), "{code} has no row");
            let explained = Codes::default().explain(code).expect("a row explains itself");
            for text in [&explained.meaning, &explained.advice] {
                assert!(text.ends_with('.'), "{code}: {text:?}");
            }
        }
        assert_eq!(Codes::default().explain("ERROR_NEVER_SEEN"), None);
    }

    #[test]
    fn every_cause_of_our_own_is_explained() {
        use deadletter_core::Cause;
        for code in [
            Cause::TIMEOUT,
            Cause::NETWORK,
            Cause::UNREADABLE,
            Cause::DEADLINE,
            Cause::PANIC,
            Cause::WORKER_DIED,
            Cause::ATTEMPT_MISSING,
            Cause::REQUEST_MISSING,
            Cause::ID_NOT_UNIQUE,
        ] {
            assert!(find(code).is_some(), "{code} has no row");
        }
    }

    #[test]
    fn each_code_stands_once_and_is_a_cause_as_it_is_spelled() {
        let mut seen = std::collections::BTreeSet::new();
        for row in all() {
            assert!(seen.insert(row.code), "{} stands twice", row.code);
            assert_eq!(deadletter_core::Cause::new(row.code).as_str(), row.code);
            assert_eq!(normal(row.code), row.code);
        }
    }

    #[test]
    fn the_users_codes_win_over_the_table_and_unknown_ones_stay_unknown() {
        let extra = |class| ExtraCode { class, retry_after_ms: Some(7) };
        let codes = Codes::with([
            ("error_new".to_owned(), extra(Class::Capacity)),
            ("ERROR_ZERO_BALANCE".to_owned(), extra(Class::Account)),
        ]);
        assert_eq!(codes.meaning("ERROR_NEW").on_submit, Class::Capacity);
        assert_eq!(codes.meaning("ERROR_NEW").retry_after_ms, Some(7));
        assert_eq!(codes.meaning("ERROR_ZERO_BALANCE").on_poll, OnPoll::Is(Class::Account));
        assert_eq!(codes.meaning("ERROR_OTHER").on_submit, Class::Unknown);
        let explained = codes.explain("ERROR_NEW").expect("named by the user");
        assert_eq!(explained.class, Class::Capacity);
    }
}
