//! Where the services of the family are told what an answer was worth: each has paths of its own.
//!
//! Sources: the services' own documentation of these calls. All of them take `clientKey` and
//! `taskId`, and answer `"status":"success"`; CapSolver's takes the verdict in `result.invalid`, and
//! answers `"message":"okay"`.

use url::Url;

/// The one path whose body says which verdict it is.
pub(super) const FEEDBACK: &str = "feedbackTask";

/// What a call says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It was accepted.
    Good,
    /// It was not.
    Bad,
    /// Its body tells: `result.invalid`.
    InBody,
}

/// The calls of all services, by their path without the slash.
pub const REPORTS: [(&str, Says); 8] = [
    ("reportCorrect", Says::Good),
    ("reportIncorrect", Says::Bad),
    ("reportCorrectRecaptcha", Says::Good),
    ("reportIncorrectRecaptcha", Says::Bad),
    ("reportIncorrectHcaptcha", Says::Bad),
    ("reportIncorrectImageCaptcha", Says::Bad),
    ("reportIncorrectTokenCaptcha", Says::Bad),
    (FEEDBACK, Says::InBody),
];

/// The path for a verdict on an answer of that method, at the service below `base`; none where that
/// service takes no such report. A service that is not known is taken for one like 2captcha.
pub(super) fn path(base: &str, method: &str, is_good: bool) -> Option<&'static str> {
    let url = Url::parse(base).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let is_of = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_image = matches!(method, "base64" | "post" | "grid" | "bls");
    if is_of("anti-captcha.com") {
        return match (method, is_good) {
            (method, true) if method.starts_with("userrecaptcha") => Some("reportCorrectRecaptcha"),
            (method, false) if method.starts_with("userrecaptcha") => {
                Some("reportIncorrectRecaptcha")
            }
            ("hcaptcha", false) => Some("reportIncorrectHcaptcha"),
            (_, false) if is_image => Some("reportIncorrectImageCaptcha"),
            _ => None,
        };
    }
    if is_of("capmonster.cloud") {
        return match is_good {
            true => None,
            false if is_image => Some("reportIncorrectImageCaptcha"),
            false => Some("reportIncorrectTokenCaptcha"),
        };
    }
    if is_of("capsolver.com") {
        return Some(FEEDBACK);
    }
    Some(if is_good { "reportCorrect" } else { "reportIncorrect" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_told_where_it_listens() {
        for (base, method, good, bad) in [
            (
                "https://api.anti-captcha.com",
                "userrecaptcha_v3",
                Some("reportCorrectRecaptcha"),
                Some("reportIncorrectRecaptcha"),
            ),
            ("https://api.anti-captcha.com", "base64", None, Some("reportIncorrectImageCaptcha")),
            ("https://api.anti-captcha.com", "hcaptcha", None, Some("reportIncorrectHcaptcha")),
            ("https://api.anti-captcha.com", "turnstile", None, None),
            (
                "https://api.2captcha.com",
                "turnstile",
                Some("reportCorrect"),
                Some("reportIncorrect"),
            ),
            (
                "https://api.capmonster.cloud",
                "turnstile",
                None,
                Some("reportIncorrectTokenCaptcha"),
            ),
            ("https://api.capmonster.cloud", "base64", None, Some("reportIncorrectImageCaptcha")),
            ("https://api.capsolver.com", "base64", Some(FEEDBACK), Some(FEEDBACK)),
            (
                "https://not-anti-captcha.com",
                "base64",
                Some("reportCorrect"),
                Some("reportIncorrect"),
            ),
            ("http://127.0.0.1:80/x", "geetest", Some("reportCorrect"), Some("reportIncorrect")),
        ] {
            assert_eq!(path(base, method, true), good, "{base} {method}");
            assert_eq!(path(base, method, false), bad, "{base} {method}");
            for path in good.into_iter().chain(bad) {
                assert!(REPORTS.iter().any(|(known, _)| *known == path));
            }
        }
    }
}
