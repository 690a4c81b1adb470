//! Heads of requests: lines, names, hosts, targets, versions, sizes.

use super::{Case, case, get};
use crate::rig::{JOB, KEY};

/// A question about a task that does not exist.
fn target() -> String {
    format!("/res.php?key={KEY}&action=get&id=17")
}

/// That question with these headers.
fn with(headers: &str) -> String {
    format!("GET {} HTTP/1.1\r\n{headers}connection: close\r\n\r\n", target())
}

/// A question whose key is these bytes.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let end = b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    [&b"GET /res.php?key="[..], bytes, end].concat()
}

/// Lines, and what stands in headers.
pub(super) fn lines() -> Vec<Case> {
    let target = target();
    vec![
        // RFC 9112, 2.2, lets a server take a bare LF; everything in it is read alike.
        case(
            "bare LF",
            format!("GET {target} HTTP/1.1\nhost: localhost\nconnection: close\n\n"),
            &["200 ERROR_WRONG_CAPTCHA_ID"],
        ),
        case("a bare CR", with("host: localhost\r\na: b\rc: d\r\n"), &["400"]),
        case("NUL in a header", with("host: localhost\r\na: b\0c\r\n"), &["400"]),
        case("NUL in the target", raw(b"a\0b"), &["400"]),
        case(
            "a line end in a key",
            get("/res.php?key=a%0d%0aset-cookie:%20b=1&action=get"),
            &["200 ERROR_WRONG_USER_KEY"],
        ),
        case(
            "a line end in the name of a job",
            with("host: localhost\r\nidempotency-key: a\r\n\tb\r\n"),
            &["400"],
        ),
        case(
            "absolute form of another host",
            format!(
                "GET http://evil.example{target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            ),
            &["421"],
        ),
        case(
            "absolute form of this host",
            format!(
                "GET http://localhost{target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            ),
            &["200 ERROR_WRONG_CAPTCHA_ID"],
        ),
        case("two hosts", with("host: localhost\r\nhost: evil.example\r\n"), &["421"]),
        case("a host with a user", with("host: localhost@evil.example\r\n"), &["421"]),
        case(
            "a host that is no text",
            [&b"GET / HTTP/1.1\r\nhost: \xff\r\nconnection: close\r\n\r\n"[..]].concat(),
            &["421"],
        ),
    ]
}

/// Targets, versions and sizes.
pub(super) fn targets() -> Vec<Case> {
    let target = target();
    vec![
        case(
            "CONNECT",
            "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            &["404"],
        ),
        case(
            "a star for a target",
            "OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            &["404"],
        ),
        case("a path that climbs", get(&format!("/x/../in.php?key={KEY}&{JOB}")), &["404"]),
        case("a path in disguise", get(&format!("/%69n.php?key={KEY}&{JOB}")), &["404"]),
        case(
            "no UTF-8 in the path",
            b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            &["400", "404"],
        ),
        case(
            "no UTF-8 in the query",
            raw(b"\xff\xfe\xc0\x80"),
            &["400", "200 ERROR_WRONG_USER_KEY"],
        ),
        case("%zz in a key", get("/res.php?key=%zz%&action=get"), &["200 ERROR_WRONG_USER_KEY"]),
        case("HTTP/0.9", "GET /res.php\r\n", &["400", ""]),
        case("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &["400", "505", ""]),
        case(
            "an upgrade to HTTP/2",
            with("host: localhost\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
            &["200 ERROR_WRONG_CAPTCHA_ID"],
        ),
        case(
            "a version of tomorrow",
            format!("GET {target} HTTP/9.9\r\nhost: localhost\r\n\r\n"),
            &["400", "505"],
        ),
        case(
            "TLS where none is spoken",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            &["400", ""],
        ),
        case(
            "a method of 100,000 bytes",
            format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(100_000)),
            &["400", "404", "431", ""],
        ),
        case(
            "a head of 1 MB",
            with(&format!("host: localhost\r\na: {}\r\n", "x".repeat(1 << 20))),
            &["431", ""],
        ),
        case(
            "10,000 headers",
            with(&format!("host: localhost\r\n{}", "a: b\r\n".repeat(10_000))),
            &["431", ""],
        ),
        case(
            "a key of 1 MB in the query",
            get(&format!("/res.php?key={}", "0".repeat(1 << 20))),
            &["414", "431", ""],
        ),
        case("only line ends", "\r\n".repeat(50_000), &["400", "431", ""]),
    ]
}
