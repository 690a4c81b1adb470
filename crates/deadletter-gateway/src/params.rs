//! The parameters of one request, merged from query and body in every form that clients send.
//!
//! Query, `application/x-www-form-urlencoded`, `multipart/form-data` with a file, a JSON object; a
//! body of another type is read as urlencoded, as PHP does. The body wins over the query, and the
//! last of two equal names over the first. Values that are no UTF-8 are read with replacement
//! characters: nothing here panics or refuses bytes.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::{borrow::Cow, convert::Infallible};

/// More parameters than any real submit has: one of nine images has about twenty.
const COUNT: usize = 200;
/// Bytes of a name; the longest known have 20.
const NAME: usize = 100;

/// Levels of a value in JSON; upstream's own have two. What nests deeper than its readers bear would
/// be stored and never read again.
const DEPTH: usize = 16;

/// Named parameters, in the order in which they came.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Params(Map<String, Value>);

/// Why a request cannot be read; for people who look at what they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Params {
    /// Reads a whole request.
    pub(crate) async fn read(
        query: Option<&str>,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Self, Malformed> {
        let mut params = Self::default();
        params.take_urlencoded(query.unwrap_or_default().as_bytes())?;
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            params.take_multipart(content_type, body).await?;
        } else if essence.eq_ignore_ascii_case("application/json") && !body.is_empty() {
            params.take_json(&body)?;
        } else {
            params.take_urlencoded(&body)?;
        }
        Ok(params)
    }

    /// A parameter as text; none where it is absent or empty.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = match self.0.get(name)? {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(number) => Cow::Owned(number.to_string()),
            Value::Bool(truth) => Cow::Borrowed(if *truth { "1" } else { "0" }),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// True where a parameter is a list or an object.
    pub(crate) fn is_structured(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Array(_) | Value::Object(_)))
    }

    /// True where a switch such as `json` is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| matches!(text.trim(), "1" | "true"))
    }

    /// Everything that was sent.
    pub(crate) fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    fn take(&mut self, name: String, value: Value) -> Result<(), Malformed> {
        if name.len() > NAME {
            return Err(Malformed("a parameter's name is too long"));
        }
        self.0.insert(name, value);
        if self.0.len() > COUNT {
            return Err(Malformed("too many parameters"));
        }
        Ok(())
    }

    fn take_urlencoded(&mut self, text: &[u8]) -> Result<(), Malformed> {
        // Parameters that say the same name again cost time as well.
        for (n, (name, value)) in form_urlencoded::parse(text).enumerate() {
            if n >= COUNT {
                return Err(Malformed("too many parameters"));
            }
            if !name.is_empty() {
                self.take(name.into_owned(), Value::String(value.into_owned()))?;
            }
        }
        Ok(())
    }

    fn take_json(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Malformed("the body is no JSON object"))?;
        bounded(&fields)?;
        for (name, value) in fields {
            if !value.is_null() {
                self.take(name, value)?;
            }
        }
        Ok(())
    }

    async fn take_multipart(&mut self, content_type: &str, body: Bytes) -> Result<(), Malformed> {
        const BROKEN: Malformed = Malformed("the multipart body is broken");
        let boundary = multer::parse_boundary(content_type).map_err(|_| BROKEN)?;
        let stream = futures_util::stream::once(async { Ok::<_, Infallible>(body) });
        let mut parts = multer::Multipart::new(stream, boundary);
        let mut count = 0;
        while let Some(part) = parts.next_field().await.map_err(|_| BROKEN)? {
            count += 1;
            if count > COUNT {
                return Err(Malformed("too many parameters"));
            }
            let Some(name) = part.name().map(str::to_owned) else { continue };
            let is_file = part.file_name().is_some();
            let content = part.bytes().await.map_err(|_| BROKEN)?;
            let text = if is_file {
                BASE64_STANDARD.encode(&content)
            } else {
                String::from_utf8_lossy(&content).into_owned()
            };
            self.take(name, Value::String(text))?;
        }
        Ok(())
    }
}

/// Refuses an object that no real client sends: too many fields, too long a name, too deep a value.
pub(crate) fn bounded(fields: &Map<String, Value>) -> Result<(), Malformed> {
    if fields.len() > COUNT {
        return Err(Malformed("too many parameters"));
    }
    if fields.keys().any(|name| name.len() > NAME) {
        return Err(Malformed("a parameter's name is too long"));
    }
    if fields.values().any(|value| is_deeper(value, DEPTH)) {
        return Err(Malformed("a value is nested too deeply"));
    }
    Ok(())
}

/// True where a value has more than `levels` of arrays and objects.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let below = |value: &Value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Array(values) => values.iter().any(below) || levels == 0,
        Value::Object(fields) => fields.values().any(below) || levels == 0,
        _ => false,
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be keys, cookies and credentials.
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    async fn read(query: &str, content_type: Option<&str>, body: &[u8]) -> Params {
        let body = Bytes::copy_from_slice(body);
        Params::read(Some(query), content_type, body).await.expect("well formed")
    }

    async fn refused(content_type: &str, body: &[u8]) -> &'static str {
        let body = Bytes::copy_from_slice(body);
        Params::read(None, Some(content_type), body).await.expect_err("malformed").0
    }

    #[tokio::test]
    async fn the_body_wins_over_the_query_and_the_last_over_the_first() {
        let params = read("key=a&json=1&x=1&x=2", FORM, b"key=b&pageurl=x%20y+z").await;
        let texts = ["key", "json", "x", "pageurl"].map(|name| params.text(name).unwrap());
        assert_eq!(texts, ["b", "1", "2", "x y z"]);
        assert!(params.is_on("json") && !params.is_on("x") && !params.is_on("absent"));
    }

    #[tokio::test]
    async fn a_json_object_keeps_its_values() {
        let body =
            br#"{"method":"turnstile","json":1,"invisible":true,"proxy":null,"n":{"a":[1]}}"#;
        let params = read("", Some("application/json; charset=utf-8"), body).await;
        assert_eq!(params.text("invisible").as_deref(), Some("1"));
        assert!(params.is_on("json"));
        let fields = params.into_fields();
        let names: Vec<_> = fields.keys().map(String::as_str).collect();
        let sent = vec!["method", "json", "invisible", "n"];
        assert_eq!((names, fields["n"]["a"][0].as_i64()), (sent, Some(1)));
    }

    #[tokio::test]
    async fn a_file_of_a_multipart_body_is_kept_in_base64() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\npost\r\n\
            --XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n\r\nxx\r\n--XX--\r\n";
        let params = read("key=a", Some("multipart/form-data; boundary=\"XX\""), body).await;
        assert_eq!(params.text("method").as_deref(), Some("post"));
        let file = params.text("file").unwrap();
        assert_eq!(BASE64_STANDARD.decode(&*file).unwrap(), b"\x89PNG\r\n\r\nxx");
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_and_never_panics() {
        assert_eq!(refused("application/json", b"[1]").await, "the body is no JSON object");
        assert!(refused("multipart/form-data", b"--XX--").await.contains("broken"));
        assert!(
            refused("multipart/form-data; boundary=XX", b"--XX\r\nnon").await.contains("broken")
        );
        let many = (0..=COUNT).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(refused("", many.as_bytes()).await, "too many parameters");
        assert_eq!(refused("", "a=1&".repeat(COUNT + 1).as_bytes()).await, "too many parameters");
        assert!(refused("", "x".repeat(NAME + 1).as_bytes()).await.contains("name"));
    }

    #[tokio::test]
    async fn what_is_nested_deeper_than_its_readers_bear_is_refused() {
        let nested = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        let (bears, bears_not) = (nested(DEPTH), nested(DEPTH + 1));
        assert!(read("", Some("application/json"), bears.as_bytes()).await.0.contains_key("a"));
        assert!(refused("application/json", bears_not.as_bytes()).await.contains("nested"));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_read_all_the_same() {
        let params = read("a=%zz&b=%ff&c=%00&=d&e", None, b"\xff\xfe=\xff").await;
        assert_eq!(params.text("a").as_deref(), Some("%zz"));
        assert_eq!(params.text("b").as_deref(), Some("\u{fffd}"));
        assert_eq!(params.text("c").as_deref(), Some("\0"));
        assert_eq!(params.text("e"), None);
    }

    #[tokio::test]
    async fn values_are_never_printed() {
        let shown = format!("{:?}", read("key=hunter2", None, b"").await);
        assert_eq!(shown, r#"["key"]"#);
    }
}
