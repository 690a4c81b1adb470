//! The kinds of upstream that an account may be at, and what their settings are called.

use deadletter::core::Class;
use std::str::FromStr;

/// The provider of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProviderName {
    /// in.php and res.php.
    CaptchaAi,
    /// createTask and getTaskResult.
    CreateTask,
}

impl ProviderName {
    /// All of them, in the order in which they are told.
    pub(crate) const ALL: [Self; 2] = [Self::CaptchaAi, Self::CreateTask];

    /// As it is written in `account.provider`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::CaptchaAi => "captchaai",
            Self::CreateTask => "createtask",
        }
    }

    /// The settings that say where jobs are submitted, and where their answers are asked for.
    pub(crate) const fn endpoint_settings(self) -> [&'static str; 2] {
        match self {
            Self::CaptchaAi => ["account.submit_endpoint", "account.result_endpoint"],
            Self::CreateTask => ["account.endpoint"; 2],
        }
    }

    /// Codes that mean something else at this kind of upstream than in the table.
    pub(crate) const fn codes(self) -> &'static [(&'static str, Class)] {
        match self {
            Self::CaptchaAi => &[],
            // There are no threads that it could mean.
            Self::CreateTask => &[("ERROR_ZERO_BALANCE", Class::Account)],
        }
    }
}

impl FromStr for ProviderName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|name| name.label() == text).ok_or(())
    }
}
