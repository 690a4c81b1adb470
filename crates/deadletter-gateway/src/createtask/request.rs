//! A request of the family: a JSON object, whatever its content type says.

use crate::params::{Malformed, bounded};
use serde_json::{Map, Value};

/// What was sent. Its values may be keys, cookies and credentials: it is never printed.
pub(super) struct Request(Map<String, Value>);

impl Request {
    /// Reads a body; the error is for people who look at what they send.
    pub(super) fn read(body: &[u8]) -> Result<Self, &'static str> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let request: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| "the body is no JSON object")?;
        let task = request.get("task").and_then(Value::as_object);
        for fields in [Some(&request), task].into_iter().flatten() {
            bounded(fields).map_err(|Malformed(why)| why)?;
        }
        Ok(Self(request))
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.0.get("clientKey")?.as_str()
    }

    pub(super) fn task(&self) -> Option<&Map<String, Value>> {
        self.0.get("task")?.as_object()
    }

    /// The id that is asked for: some clients keep it as a number, some as text.
    pub(super) fn task_id(&self) -> Option<String> {
        match self.0.get("taskId")? {
            Value::String(id) => Some(id.trim().to_owned()),
            Value::Number(id) => id.as_u64().map(|id| id.to_string()),
            _ => None,
        }
    }

    /// What a client of CapSolver says of an answer; none where it says nothing.
    pub(super) fn is_invalid(&self) -> Option<bool> {
        self.0.get("result")?.get("invalid")?.as_bool()
    }

    /// The URL that is to be told; the error stands for what cannot be one.
    pub(super) fn callback_url(&self) -> Result<Option<&str>, ()> {
        match self.0.get("callbackUrl") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(url)) => Ok(Some(url.trim()).filter(|url| !url.is_empty())),
            Some(_) => Err(()),
        }
    }

    /// The field by which a client names a job that it may send again.
    pub(super) fn idempotency_key(&self) -> Option<String> {
        let key = self.0.get("idempotency_key")?.as_str()?;
        (!key.is_empty()).then(|| key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::provider::createtask::payload;
    use proptest::prelude::*;

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&[u8]] = &[
            b"{\"clientKey\":\"k\",",
            b"\"task\":{\"type\":\"",
            b"TurnstileTask",
            b"GeeTestTaskProxyless\",\"version\":4,",
            b"\"proxyAddress\":\"a\",\"proxyPort\":",
            b"\"initParameters\":{\"captcha_id\":[]}",
            b"\"taskId\":",
            b"1e400",
            b"\"",
            b"}}",
            b"[[[[{{",
            b"\xef\xbb\xbf",
            b"\"\\ud800\"",
        ];
        let piece = proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec);
        let piece = prop_oneof![piece, proptest::collection::vec(any::<u8>(), 0..9)];
        proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    /// JSON whose objects have the names that are read.
    fn tasks() -> impl Strategy<Value = Value> {
        let name = proptest::sample::select(vec![
            "clientKey",
            "task",
            "taskId",
            "type",
            "websiteKey",
            "version",
            "initParameters",
            "captcha_id",
            "proxyAddress",
            "proxyPort",
            "proxyType",
            "isInvisible",
            "minScore",
            "idempotency_key",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[ -~]{0,9}".prop_map(Value::from),
            proptest::sample::select(vec![
                "GeeTestTask",
                "recaptchav3taskproxyless",
                "ImageToTextTask"
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| {
                    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                }),
            ]
        })
    }

    fn read_all(body: &[u8]) {
        if let Ok(request) = Request::read(body) {
            request.key();
            request.task_id();
            request.idempotency_key();
            if let Some(task) = request.task() {
                payload(task).ok();
            }
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in bodies()) {
            read_all(&body);
        }

        #[test]
        fn reading_any_json_never_panics(body in tasks()) {
            read_all(body.to_string().as_bytes());
        }
    }

    #[test]
    fn an_id_is_a_number_or_text() {
        for (body, id) in [
            (r#"{"taskId":42}"#, Some("42")),
            (r#"{"taskId":" 42 "}"#, Some("42")),
            (r#"{"taskId":4.5}"#, None),
            (r#"{"taskId":-1}"#, None),
            (r#"{"taskId":[42]}"#, None),
            ("{}", None),
        ] {
            assert_eq!(Request::read(body.as_bytes()).unwrap().task_id().as_deref(), id, "{body}");
        }
        assert!(Request::read(b"taskId=42").is_err() && Request::read(b"").is_err());
    }
}
