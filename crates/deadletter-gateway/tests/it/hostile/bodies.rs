//! Parameters, in every form of body.

use super::{Case, case, framed, post};
use crate::rig::{JOB, KEY};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=XX";
const BAD: &[&str] = &["200 ERROR_BAD_PARAMETERS"];
const BAD_JSON: &[&str] = &[r#"200 {"status":0,"request":"ERROR_BAD_PARAMETERS"}"#];
const NO_KEY: &[&str] = &["200 ERROR_WRONG_USER_KEY"];

fn own() -> String {
    format!("key={KEY}&{JOB}")
}

/// Urlencoded.
pub(super) fn forms() -> Vec<Case> {
    let own = own();
    let many = |n: usize| (0..n).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
    vec![
        case("10,000 parameters", post(FORM, format!("{own}&{}", many(10_000))), BAD),
        case(
            "one parameter 10,000 times",
            post(FORM, format!("{own}&{}", "a=1&".repeat(10_000))),
            BAD,
        ),
        case("a key of 1 MB", post(FORM, format!("key={}", "0".repeat(1 << 20))), NO_KEY),
        case("a name of 1 MB", post(FORM, format!("{own}&{}=1", "a".repeat(1 << 20))), BAD),
        case("a key behind NUL", post(FORM, format!("key={KEY}%00&{JOB}")), NO_KEY),
        case("an array for a key", post(FORM, format!("key[]={KEY}&{JOB}")), NO_KEY),
        case("an array for a method", post(FORM, format!("key={KEY}&method[]=userrecaptcha")), BAD),
        case(
            "two keys, the last a stranger's",
            post(FORM, format!("{own}&key={}", "0".repeat(32))),
            &["200 ERROR_KEY_DOES_NOT_EXIST"],
        ),
        case("no UTF-8", post(FORM, [b"key=\xff\xfe&method=\xc0\x80".to_vec()].concat()), NO_KEY),
    ]
}

/// JSON.
pub(super) fn json() -> Vec<Case> {
    let nested = |open: &str, close: &str| {
        format!(
            r#"{{"key":"{KEY}","method":"x","a":{}{}}}"#,
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    vec![
        case("arrays in JSON 100,000 deep", post(JSON, nested("[", "]")), BAD_JSON),
        case("objects in JSON 100,000 deep", post(JSON, nested(r#"{"a":"#, "}")), BAD_JSON),
        case(
            "arrays in JSON 100 deep",
            post(
                JSON,
                format!(
                    r#"{{"key":"{KEY}","method":"x","a":{}1{}}}"#,
                    "[".repeat(100),
                    "]".repeat(100)
                ),
            ),
            BAD_JSON,
        ),
        case(
            "a number that is none",
            post(JSON, format!(r#"{{"key":"{KEY}","method":"x","a":1e999}}"#)),
            BAD_JSON,
        ),
        case(
            "an object for a key",
            post(JSON, format!(r#"{{"key":{{"a":"{KEY}"}},"method":"x"}}"#)),
            NO_KEY,
        ),
        case(
            "half a pair of surrogates",
            post(JSON, format!(r#"{{"key":"{KEY}","method":"\ud800"}}"#)),
            BAD_JSON,
        ),
        case("JSON that is no UTF-8", post(JSON, b"{\"key\":\"\xff\"}"), BAD_JSON),
    ]
}

/// Multipart, and what is no form at all.
pub(super) fn multiparts() -> Vec<Case> {
    let own = own();
    let part = |head: &str| format!("--XX\r\n{head}\r\n\r\nx\r\n");
    let named = |name: &str| part(&format!("content-disposition: form-data; name=\"{name}\""));
    vec![
        case("a multipart body without a boundary", post("multipart/form-data", &own), BAD),
        case(
            "a boundary of 10,000 bytes",
            post(&format!("multipart/form-data; boundary={}", "X".repeat(10_000)), "--X"),
            BAD,
        ),
        case(
            "10,000 parts",
            post(MULTIPART, format!("{}--XX--\r\n", named("a").repeat(10_000))),
            BAD,
        ),
        case(
            "10,000 headers of a part",
            post(MULTIPART, part("a: b\r\n".repeat(10_000).trim_end())),
            BAD,
        ),
        case(
            "a part's name of 1 MB",
            post(MULTIPART, format!("{}--XX--\r\n", named(&"a".repeat(1 << 20)))),
            BAD,
        ),
        case(
            "multipart in multipart",
            post(
                MULTIPART,
                format!(
                    "{}{}--XX--\r\n",
                    named("key"),
                    part("content-type: multipart/mixed; boundary=YY")
                ),
            ),
            NO_KEY,
        ),
        case(
            "10 MB before the first part",
            post(MULTIPART, format!("{}--XX--\r\n", "\r\n--X".repeat(2 << 20))),
            &["200 ERROR_BAD_PARAMETERS", "200 ERROR_WRONG_USER_KEY"],
        ),
        case("a multipart body without an end", post(MULTIPART, named("key")), BAD),
        case(
            "a compressed body",
            [framed(
                "content-encoding: gzip\r\nconnection: close\r\ncontent-length: 10\r\n",
                "\x1f\x08\0\0\0\0\0\0\0\0",
            )
            .into_bytes()]
            .concat(),
            NO_KEY,
        ),
    ]
}

/// The createTask family.
pub(super) fn family() -> Vec<Case> {
    const REFUSED: &[&str] = &[
        r#"200 {"errorId":1,"errorCode":"ERROR_BAD_PARAMETERS","errorDescription":"A parameter that this method requires is missing or wrong."}"#,
    ];
    let create = |task: &str| {
        let body =
            format!(r#"{{"clientKey":"{KEY}","task":{{"type":"TurnstileTaskProxyless"{task}}}}}"#);
        String::from_utf8_lossy(&post(JSON, body)).replace("/in.php", "/createTask")
    };
    let many = (0..10_000).map(|n| format!(r#","a{n}":1"#)).collect::<String>();
    let deep = format!(r#","a":{}{}"#, "[".repeat(100), "]".repeat(100));
    vec![
        case("a task of 10,000 fields", create(&many), REFUSED),
        case("a task 100 deep", create(&deep), REFUSED),
        case(
            "a task with a name of 1 MB",
            create(&format!(r#","{}":1"#, "a".repeat(1 << 20))),
            REFUSED,
        ),
    ]
}
