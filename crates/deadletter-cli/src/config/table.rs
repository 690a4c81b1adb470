//! The table of settings: each name, its variable, its default. Everything else is derived.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its path in `deadletter.toml`.
    pub(crate) key: &'static str,
    /// The variable that sets it.
    pub(crate) variable: Option<&'static str>,
    /// Its default, as it would be written; none where it has none or a computed one.
    pub(crate) default: Option<&'static str>,
    /// Never shown whole.
    pub(crate) secret: bool,
    /// Takes a list of texts in the file; elsewhere they stand between commas.
    pub(crate) list: bool,
}

const fn setting(
    key: &'static str,
    variable: Option<&'static str>,
    default: Option<&'static str>,
) -> Setting {
    Setting { key, variable, default, secret: false, list: false }
}

/// Every setting with a fixed name.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("store", Some("DEADLETTER_STORE"), None),
    setting("account.name", Some("DEADLETTER_ACCOUNT"), Some("main")),
    setting("account.provider", Some("DEADLETTER_PROVIDER"), Some("captchaai")),
    setting(
        "account.submit_endpoint",
        Some("CAPTCHAAI_SUBMIT_ENDPOINT"),
        Some("https://ocr.captchaai.com/in.php"),
    ),
    setting(
        "account.result_endpoint",
        Some("CAPTCHAAI_RESULT_ENDPOINT"),
        Some("https://ocr.captchaai.com/res.php"),
    ),
    // For the createtask provider; its calls are below it.
    setting("account.endpoint", Some("DEADLETTER_ENDPOINT"), None),
    setting("account.key_env", Some("DEADLETTER_KEY_ENV"), Some(KEY_VARIABLE)),
    setting("account.key_file", Some("DEADLETTER_KEY_FILE"), None),
    // Its variable is the one that `account.key_env` names.
    Setting { secret: true, ..setting("account.key", None, None) },
    setting("account.threads", Some("DEADLETTER_THREADS"), None),
    setting("policy.first_submits", Some("DEADLETTER_FIRST_SUBMITS"), Some("4")),
    setting("policy.redrive_submits", Some("DEADLETTER_REDRIVE_SUBMITS"), Some("2")),
    setting("policy.max_submits", Some("DEADLETTER_MAX_SUBMITS"), Some("7")),
    setting("policy.on_doubt", Some("DEADLETTER_ON_DOUBT"), Some("resubmit")),
    setting("retention.solved", Some("DEADLETTER_RETENTION_SOLVED"), Some("24h")),
    Setting {
        list: true,
        ..setting("deliveries.allow", Some("DEADLETTER_DELIVERIES_ALLOW"), None)
    },
];

/// Tables whose keys are the user's: `[timeouts]` by method, `[codes]` by error code.
pub(crate) const OPEN_TABLES: &[&str] = &["timeouts", "codes"];

/// Variables of ours that set no setting.
pub(crate) const OTHER_VARIABLES: &[&str] =
    &["DEADLETTER_CONFIG", "DEADLETTER_LOG", TIME_SCALE_VARIABLE, CRASH_VARIABLE];

/// Where the key is looked for, unless told otherwise.
pub(crate) const KEY_VARIABLE: &str = "CAPTCHAAI_API_KEY";

/// For tests only: makes a debug build die at a named point.
pub(crate) const CRASH_VARIABLE: &str = "DEADLETTER_CRASH_AT";

/// For tests only: the store's clock, and with it every wait, runs so many times faster.
pub(crate) const TIME_SCALE_VARIABLE: &str = "DEADLETTER_TIME_SCALE";

/// The setting of that name.
pub(crate) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The word of `known` nearest to `word`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        // Below this, suggestions are noise: `key` against `store` scores 0.0, `tread` 0.9.
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
