//! An answer of ours as the family's `solution`.

use super::kinds::{Shape, by_label};
use deadletter_core::Answer;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

/// The dialect of answers that came from an upstream of the family.
pub const DIALECT: &str = "createTask";

/// What the three parts of a geetest answer begin with in ours.
const GEETEST: &str = "geetest_";

/// The solution of a task of that method: as upstream gave it where upstream is of the family too,
/// else made of the answer's parts.
#[must_use]
pub fn solution(label: &str, answer: &Answer) -> Box<RawValue> {
    #[derive(Deserialize)]
    struct Told {
        solution: Box<RawValue>,
    }
    if answer.dialect == DIALECT
        && let Ok(told) = serde_json::from_str::<Told>(answer.raw.expose_secret())
    {
        return told.solution;
    }
    let made = Value::Object(made(label, answer.expose(), answer.user_agent.as_deref()));
    serde_json::value::to_raw_value(&made).expect("a JSON value is JSON")
}

fn made(label: &str, text: &str, user_agent: Option<&str>) -> Map<String, Value> {
    let shape = by_label(label).map_or(Shape::Token, |kind| kind.shape);
    let object = || serde_json::from_str::<Map<String, Value>>(text).ok();
    let one = |name: &str| Map::from_iter([(name.to_owned(), Value::from(text))]);
    let mut made = match shape {
        Shape::Recaptcha => one("gRecaptchaResponse"),
        Shape::Token => one("token"),
        Shape::TokenTwice => {
            let mut both = one("gRecaptchaResponse");
            both.extend(one("token"));
            both
        }
        Shape::Text => one("text"),
        Shape::Structure => object().unwrap_or_else(|| one("token")),
        Shape::Geetest => object().map_or_else(
            || one("token"),
            |parts| {
                let bare =
                    |name: String| name.strip_prefix(GEETEST).map_or(name.clone(), str::to_owned);
                parts.into_iter().map(|(name, value)| (bare(name), value)).collect()
            },
        ),
        Shape::Clearance => {
            let mut made = one("token");
            made.insert("cookies".to_owned(), json!({ "cf_clearance": text }));
            made
        }
    };
    if let Some(agent) = user_agent {
        made.insert("userAgent".to_owned(), agent.into());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{AttemptToken, TaskId, UnixMs};

    fn answer(dialect: &str, raw: &str, text: &str, agent: Option<&str>) -> Answer {
        Answer {
            task: TaskId::at(UnixMs(0), 1),
            token: AttemptToken::from_random(2),
            dialect: dialect.to_owned(),
            raw: raw.into(),
            text: text.into(),
            user_agent: agent.map(str::to_owned),
            solved_at: UnixMs(0),
            expires_at: None,
            read_at: UnixMs(0),
        }
    }

    #[test]
    fn a_solution_has_the_fields_of_its_kind() {
        let geetest = r#"{"geetest_challenge":"c","geetest_validate":"v","geetest_seccode":"s"}"#;
        for (label, text, agent, told) in [
            ("userrecaptcha", "T", None, r#"{"gRecaptchaResponse":"T"}"#),
            ("userrecaptcha_v3", "T", None, r#"{"gRecaptchaResponse":"T"}"#),
            (
                "userrecaptcha_enterprise",
                "T",
                Some("UA"),
                r#"{"gRecaptchaResponse":"T","userAgent":"UA"}"#,
            ),
            ("base64", "0123", None, r#"{"text":"0123"}"#),
            ("post", "0123", None, r#"{"text":"0123"}"#),
            ("turnstile", "T", Some("UA"), r#"{"token":"T","userAgent":"UA"}"#),
            ("geetest", geetest, None, r#"{"challenge":"c","validate":"v","seccode":"s"}"#),
            ("geetest", "odd", None, r#"{"token":"odd"}"#),
            (
                "lemin",
                r#"{"answer":"a","challenge_id":"i"}"#,
                None,
                r#"{"answer":"a","challenge_id":"i"}"#,
            ),
            ("cloudflare_challenge", "T", None, r#"{"token":"T","cookies":{"cf_clearance":"T"}}"#),
            ("of_tomorrow", "T", None, r#"{"token":"T"}"#),
        ] {
            let told_here = solution(label, &answer("res.php/json", "", text, agent));
            assert_eq!(told_here.get(), told, "{label}");
        }
    }

    #[test]
    fn a_solution_of_the_family_is_told_as_it_came() {
        let raw = r#"{"errorId":0,"status":"ready","solution":{"z":1.50,"token":"T"},"cost":"1"}"#;
        let told = solution("turnstile", &answer(DIALECT, raw, "T", None));
        assert_eq!(told.get(), r#"{"z":1.50,"token":"T"}"#);
    }
}
