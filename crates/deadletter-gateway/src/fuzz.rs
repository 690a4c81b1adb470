//! Fuzzing of what is read from clients and replayed to them: bounded here, longer by
//! `scripts/fuzz`.

use crate::{
    params::{Params, bounded},
    wording::{Word, answer},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What bodies and queries are made of: pieces that mean something, and bytes that do not.
const PIECES: &[&[u8]] = &[
    b"key=",
    b"&",
    b"=",
    b"%",
    b"%zz",
    b"%00",
    b"+",
    b"method[]=",
    b"json=1",
    b"\0",
    b"\xff",
    b"--XX\r\n",
    b"--XX--\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"--",
    b"Content-Disposition: form-data; name=\"key\"",
    b"; filename=\"a\"",
    b"Content-Type: image/png",
    b"Content-Transfer-Encoding: base64",
    b"{\"key\":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"a\"",
    b":",
    b",",
    b"1e400",
    b"null",
    b"\"\\ud800\"",
    b"\xef\xbb\xbf",
    b"true",
];
const TYPES: &[&str] = &[
    "",
    "application/x-www-form-urlencoded",
    "application/json",
    "application/json; charset=utf-8",
    "multipart/form-data; boundary=XX",
    "multipart/form-data; boundary=\"XX\"",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "text/plain; boundary=XX",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(PIECES).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![4 => piece, 1 => vec(any::<u8>(), 0..9)];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Reads a request whose body is there: nothing is waited for.
fn read(query: &str, kind: &str, body: Vec<u8>) -> Option<Params> {
    let reading = Params::read(Some(query), Some(kind), Bytes::from(body));
    reading.now_or_never().expect("it waits for nothing").ok()
}

proptest! {
    #[test]
    fn whatever_is_sent_is_read_within_bounds_or_refused(
        query in bytes(),
        kind in select(TYPES),
        body in bytes(),
    ) {
        let query = String::from_utf8_lossy(&query).into_owned();
        if let Some(params) = read(&query, kind, body) {
            params.text("key");
            params.is_on("json");
            let fields = params.into_fields();
            prop_assert!(bounded(&fields).is_ok(), "{fields:?}");
        }
    }

    #[test]
    fn what_was_encoded_is_read_back(
        fields in proptest::collection::btree_map("[a-z]{1,9}", "(?s).{0,20}", 0..9),
    ) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let parts: String = fields
            .iter()
            .filter(|(_, value)| !value.contains("--XX"))
            .map(|(name, value)| format!(
                "--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ))
            .collect();
        let json = serde_json::to_vec(&fields).expect("texts");
        let whole: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let by_query = read(&form, "", Vec::new()).expect("well formed");
        prop_assert_eq!(by_query.into_fields(), whole.clone());
        let by_form = read("", "", form.into_bytes()).expect("well formed");
        prop_assert_eq!(by_form.into_fields(), whole.clone());
        let by_json = read("", "application/json", json).expect("well formed");
        prop_assert_eq!(by_json.into_fields(), whole.clone());
        if fields.values().all(|value| !value.contains("--XX")) {
            let body = format!("{parts}--XX--\r\n").into_bytes();
            let read = read("", "multipart/form-data; boundary=XX", body).expect("well formed");
            prop_assert_eq!(read.into_fields(), whole);
        }
    }

    #[test]
    fn whatever_upstream_answered_clients_get_json_with_a_status(
        raw in bytes(),
        text in "(?s).{0,20}",
        is_json in any::<bool>(),
        begins in select(&["", "{\"status\":1,\"request\":", "[1", "[1,2", "1"][..]),
        ends in select(&["", "}", "]"][..]),
    ) {
        let raw = format!("{begins}{}{ends}", String::from_utf8_lossy(&raw));
        let dialect = if is_json { "res.php/json" } else { "res.php/text" };
        for word in [
            Word::Answer(answer(dialect, &raw, &text)),
            Word::Priced(answer(dialect, &raw, &text)),
        ] {
            let reply = word.reply(true);
            // Values are replayed as they came: numbers that no float holds, half pairs of surrogates.
            let told: BTreeMap<String, Box<RawValue>> =
                serde_json::from_slice(reply.body()).expect("an object");
            prop_assert_eq!(told.get("status").map(|status| status.get()), Some("1"));
        }
    }
}
