//! What each method needs, how long it takes and what its answer looks like.
//!
//! Solve times follow the table of typical times in the protocol notes; unknown methods are
//! accepted and solved as tokens, because the real upstream adds methods without notice.

use serde_json::{Map, Value, json};

use crate::answer::Solution;
use crate::family;
use crate::params::Params;

/// Largest image accepted, in bytes of base64 text: 1,024 KB of image by the newest vendor page.
const LONGEST_IMAGE: usize = 1_400_000;
/// Site keys of every known kind are longer than this; shorter ones are refused as malformed.
const SHORTEST_SITE_KEY: usize = 6;
/// The browser that the simulator claims to have solved with.
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 SimBrowser/1.0";

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Token,
    /// `request` holds the token, `user_agent` stands beside it.
    TokenAndAgent,
    /// `result` holds the token, `user_agent` stands beside it, there is no `request`.
    ResultAndAgent,
    GeetestV3,
    GeetestV4,
    Lemin,
    Text,
    Squares,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kind {
    /// Name under which a scenario's `[solve.NAME]` changes the times.
    pub(crate) name: &'static str,
    /// Median solve time, virtual milliseconds.
    pub(crate) median_ms: u64,
    shape: Shape,
    /// Whether the submit id is a JSON number.
    pub(crate) id_is_number: bool,
}

const fn kind(name: &'static str, median_ms: u64, shape: Shape) -> Kind {
    Kind { name, median_ms, shape, id_is_number: false }
}

const fn recaptcha(name: &'static str, median_ms: u64, shape: Shape) -> Kind {
    Kind { name, median_ms, shape, id_is_number: true }
}

const RECAPTCHA_V2: Kind = recaptcha("userrecaptcha", 37_000, Shape::Token);
const RECAPTCHA_V3: Kind = recaptcha("userrecaptcha_v3", 5_000, Shape::Token);
const ENTERPRISE: Kind = recaptcha("userrecaptcha_enterprise", 40_000, Shape::ResultAndAgent);
const TURNSTILE: Kind = kind("turnstile", 12_000, Shape::Token);
const CHALLENGE: Kind = kind("cloudflare_challenge", 90_000, Shape::ResultAndAgent);
const GEETEST: Kind = kind("geetest", 20_000, Shape::GeetestV3);
const GEETEST_V4: Kind = kind("geetest_v4", 20_000, Shape::GeetestV4);
const CAPTCHAFOX: Kind = kind("captchafox", 12_000, Shape::TokenAndAgent);
const FRIENDLY: Kind = kind("friendly_captcha", 12_000, Shape::Token);
const LEMIN: Kind = kind("lemin", 12_000, Shape::Lemin);
const IMAGE: Kind = kind("image", 3_000, Shape::Text);
const GRID: Kind = kind("grid", 4_000, Shape::Squares);
const BLS: Kind = kind("bls", 5_000, Shape::Squares);
const HCAPTCHA: Kind = kind("hcaptcha", 15_000, Shape::Token);
const OTHER: Kind = kind("other", 15_000, Shape::Token);

/// Every name that `[solve.NAME]` may use.
pub(crate) const KINDS: [Kind; 15] = [
    RECAPTCHA_V2,
    RECAPTCHA_V3,
    ENTERPRISE,
    TURNSTILE,
    CHALLENGE,
    GEETEST,
    GEETEST_V4,
    CAPTCHAFOX,
    FRIENDLY,
    LEMIN,
    IMAGE,
    GRID,
    BLS,
    HCAPTCHA,
    OTHER,
];

/// The row for a submit with these parameters.
pub(crate) fn kind_of(params: &Params) -> Kind {
    match params.get("method").unwrap_or_default() {
        "userrecaptcha" if params.get("enterprise") == Some("1") => ENTERPRISE,
        "userrecaptcha" if params.get("version") == Some("v3") => RECAPTCHA_V3,
        "userrecaptcha" => RECAPTCHA_V2,
        "turnstile" => TURNSTILE,
        "cloudflare_challenge" => CHALLENGE,
        "geetest" if params.get("version") == Some("4") => GEETEST_V4,
        "geetest" => GEETEST,
        "captchafox" => CAPTCHAFOX,
        "friendly_captcha" => FRIENDLY,
        "lemin" => LEMIN,
        "base64" | "post" if params.get("grid_size").is_some() => GRID,
        "base64" | "post" => IMAGE,
        "bls" => BLS,
        "hcaptcha" => HCAPTCHA,
        _ => OTHER,
    }
}

/// The first reason for which upstream refuses these parameters, if any.
pub(crate) fn refusal(params: &Params) -> Option<&'static str> {
    let lacks = |name: &str| params.get(name).is_none_or(str::is_empty);
    match params.get("method").unwrap_or_default() {
        "" => Some("ERROR_BAD_PARAMETERS"),
        family::NO_SUCH_TYPE => Some("ERROR_TASK_NOT_SUPPORTED"),
        "userrecaptcha" if lacks("pageurl") => Some("ERROR_PAGEURL"),
        "userrecaptcha" if lacks("googlekey") => Some("ERROR_GOOGLEKEY"),
        "userrecaptcha" if is_malformed(params.get("googlekey")) => Some("ERROR_WRONG_GOOGLEKEY"),
        "turnstile" | "captchafox" | "friendly_captcha" if lacks("pageurl") => {
            Some("ERROR_PAGEURL")
        }
        "turnstile" | "captchafox" | "friendly_captcha" if lacks("sitekey") => {
            Some("ERROR_SITEKEY")
        }
        "cloudflare_challenge" if lacks("pageurl") => Some("ERROR_PAGEURL"),
        "cloudflare_challenge" if lacks("proxy") || lacks("proxytype") => {
            Some("ERROR_BAD_PARAMETERS")
        }
        "geetest" if lacks("pageurl") => Some("ERROR_PAGEURL"),
        "geetest" if lacks("captcha_id") && (lacks("gt") || lacks("challenge")) => {
            Some("ERROR_BAD_PARAMETERS")
        }
        "base64" => image_refusal(params.get("body").map(str::len)),
        "post" => image_refusal(params.file_len("file").or(params.get("file").map(str::len))),
        "bls" => image_refusal(params.get("image_base64_1").map(str::len)),
        _ => None,
    }
}

fn is_malformed(site_key: Option<&str>) -> bool {
    site_key.is_some_and(|key| {
        key.len() < SHORTEST_SITE_KEY || key.contains(|c: char| c.is_whitespace() || c == '<')
    })
}

fn image_refusal(len: Option<usize>) -> Option<&'static str> {
    match len {
        None | Some(0) => Some("ERROR_ZERO_CAPTCHA_FILESIZE"),
        Some(len) if len > LONGEST_IMAGE => Some("ERROR_TOO_BIG_CAPTCHA_FILESIZE"),
        Some(_) => None,
    }
}

/// The answer of a job: `token` is unique to it and stands somewhere inside.
pub(crate) fn solution(kind: Kind, id: &str, token: &str) -> Solution {
    let agent = || Map::from_iter([("user_agent".to_owned(), Value::from(USER_AGENT))]);
    let task_field = match kind.shape {
        Shape::Text => "text",
        Shape::Squares => "click",
        _ if kind == HCAPTCHA || kind.name.starts_with("userrecaptcha") => "gRecaptchaResponse",
        _ => "token",
    };
    let plain = |request: Value| Solution { request: Some(request), extra: Map::new(), task_field };
    match kind.shape {
        Shape::Token => plain(token.into()),
        Shape::TokenAndAgent => {
            Solution { request: Some(token.into()), extra: agent(), task_field }
        }
        Shape::ResultAndAgent => {
            let mut extra = Map::from_iter([("result".to_owned(), Value::from(token))]);
            extra.extend(agent());
            Solution { request: None, extra, task_field }
        }
        Shape::GeetestV3 => plain(json!({
            "geetest_challenge": token,
            "geetest_validate": format!("{token}-validate"),
            "geetest_seccode": format!("{token}-validate|jordan"),
        })),
        Shape::GeetestV4 => plain(json!({
            "captcha_id": format!("{token}-captcha"),
            "lot_number": format!("{token}-lot"),
            "pass_token": token,
            "gen_time": "1700000000",
            "captcha_output": format!("{token}-output"),
        })),
        Shape::Lemin => plain(json!({ "answer": token, "challenge_id": format!("{token}-id") })),
        // Begins with a zero, as some real images do: a client must not take it for a number.
        Shape::Text => plain(format!("0{id}").into()),
        Shape::Squares => plain(json!([1, 4, 7])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Params {
        let mut params = Params::default();
        params.merge_urlencoded(text.as_bytes());
        params
    }

    #[test]
    fn a_complete_submit_of_each_known_method_is_accepted() {
        for text in [
            "method=userrecaptcha&googlekey=6Le-wvkS&pageurl=https://a.example",
            "method=turnstile&sitekey=0x4AAAAA&pageurl=https://a.example",
            "method=cloudflare_challenge&pageurl=https://a.example&proxy=1.2.3.4:80&proxytype=HTTP",
            "method=geetest&gt=abc&challenge=def&pageurl=https://a.example",
            "method=geetest&version=4&captcha_id=abc&pageurl=https://a.example",
            "method=base64&body=aGVsbG8=",
            "method=bls&image_base64_1=aGVsbG8=",
            "method=brand_new_thing&whatever=1",
        ] {
            assert_eq!(refusal(&params(text)), None, "{text}");
        }
    }

    #[test]
    fn each_missing_parameter_has_its_own_error() {
        for (text, code) in [
            ("pageurl=https://a.example", "ERROR_BAD_PARAMETERS"),
            ("method=userrecaptcha&googlekey=6Le-wvkS", "ERROR_PAGEURL"),
            ("method=userrecaptcha&pageurl=https://a.example", "ERROR_GOOGLEKEY"),
            ("method=userrecaptcha&pageurl=https://a.example&googlekey=x", "ERROR_WRONG_GOOGLEKEY"),
            ("method=turnstile&pageurl=https://a.example", "ERROR_SITEKEY"),
            ("method=cloudflare_challenge&pageurl=https://a.example", "ERROR_BAD_PARAMETERS"),
            ("method=geetest&pageurl=https://a.example&gt=a", "ERROR_BAD_PARAMETERS"),
            ("method=base64", "ERROR_ZERO_CAPTCHA_FILESIZE"),
            ("method=post", "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ] {
            assert_eq!(refusal(&params(text)), Some(code), "{text}");
        }
    }
}
