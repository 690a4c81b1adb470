//! Framing: where one request ends and the next begins.

use super::{Case, case, framed, get, hidden};

/// Lengths that are told twice, wrongly or not as numbers; what stands behind a request.
pub(super) fn lengths() -> Vec<Case> {
    let hidden = hidden();
    let both = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
    let (te, cl) = ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", "content-length: 5\r\n");
    vec![
        // The length is not believed, and nothing after the chunks is a request.
        case(
            "CL and TE",
            framed(both, &format!("0\r\n\r\n{hidden}")),
            &["200 ERROR_WRONG_USER_KEY"],
        ),
        case("TE and CL", framed(te, &format!("0\r\n\r\n{hidden}")), &["200 ERROR_WRONG_USER_KEY"]),
        case("two lengths", framed(&format!("{cl}content-length: 0\r\n"), &hidden), &["400"]),
        case("a list of lengths", framed("content-length: 5, 6\r\n", &hidden), &["400"]),
        case("a negative length", framed("content-length: -1\r\n", &hidden), &["400"]),
        case("a length with a sign", framed("content-length: +5\r\n", &hidden), &["400"]),
        case("a length in hexadecimal", framed("content-length: 0x5\r\n", &hidden), &["400"]),
        case(
            "an overlong length",
            framed("content-length: 99999999999999999999\r\n", ""),
            &["400"],
        ),
        case("a huge length", framed("content-length: 9007199254740992\r\n", ""), &["413"]),
        // A last request is the last one, whatever follows.
        case(
            "a request behind a last one",
            [get("/res.php"), hidden.clone()].concat(),
            &["200 ERROR_WRONG_USER_KEY"],
        ),
        case(
            "a body behind a GET",
            format!(
                "GET /res.php HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
            &["200 ERROR_WRONG_USER_KEY"],
        ),
    ]
}

/// Chunks that are none, and codings that others may read differently.
pub(super) fn chunks() -> Vec<Case> {
    let hidden = hidden();
    let chunked =
        |size: &str| framed("transfer-encoding: chunked\r\n", &format!("{size}\r\n{hidden}"));
    vec![
        case("a negative chunk", chunked("-1"), &["400"]),
        case("an overlong chunk", chunked("fffffffffffffffff"), &["400"]),
        case("a huge chunk", chunked("fffffffffffffff"), &["408", "400", "413"]),
        case("a chunk that is no number", chunked("0x10"), &["400"]),
        case(
            "a chunk that ends in a bare LF",
            framed("transfer-encoding: chunked\r\n", &format!("0\n\n{hidden}")),
            &["400"],
        ),
        case(
            "an endless chunk extension",
            chunked(&format!("1;{}", "x".repeat(100_000))),
            &["400", ""],
        ),
        case(
            "endless trailers",
            framed(
                "transfer-encoding: chunked\r\n",
                &format!("0\r\n{}\r\n", "a: b\r\n".repeat(20_000)),
            ),
            &["400", "", "200 ERROR_WRONG_USER_KEY"],
        ),
        case(
            "a coding that nobody knows",
            framed("transfer-encoding: chunked, x\r\n", &hidden),
            &["400"],
        ),
        case(
            "a coding before a blank",
            framed("transfer-encoding : chunked\r\n", &hidden),
            &["400"],
        ),
        case(
            "a coding after a tab",
            framed("transfer-encoding: \x0bchunked\r\n", &hidden),
            &["400"],
        ),
        case("a folded header", framed("content-length: 0\r\n folded\r\n", &hidden), &["400"]),
        case(
            "chunks in HTTP/1.0",
            format!(
                "POST /res.php HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            &["400"],
        ),
    ]
}
