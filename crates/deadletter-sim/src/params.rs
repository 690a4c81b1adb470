//! The parameters of one request, merged from query and body in every form that clients send.
//!
//! Forms: query, `application/x-www-form-urlencoded`, `multipart/form-data`, a JSON object. The
//! body wins over the query. Files are not kept, only their sizes.

use std::collections::BTreeMap;

use serde_json::Value;

/// More parameters than any real submit has (a nine-image submit has about twenty).
const MOST_PARAMS: usize = 200;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params {
    fields: BTreeMap<String, String>,
    file_lens: BTreeMap<String, usize>,
}

/// The body's form and content do not go together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Params {
    /// Reads a whole request. A body of an unknown type is read as urlencoded, as PHP does.
    pub(crate) fn read(
        query: Option<&str>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, Malformed> {
        let mut params = Self::default();
        params.merge_urlencoded(query.unwrap_or_default().as_bytes());
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            params.merge_multipart(content_type, body)?;
        } else if essence.eq_ignore_ascii_case("application/json") {
            params.merge_json(body)?;
        } else {
            params.merge_urlencoded(body);
        }
        if params.fields.len() + params.file_lens.len() > MOST_PARAMS {
            return Err(Malformed("too many parameters"));
        }
        Ok(params)
    }

    /// These parameters and no other.
    pub(crate) fn of(fields: BTreeMap<String, String>) -> Self {
        Self { fields, file_lens: BTreeMap::new() }
    }

    /// The value of a parameter, if it was sent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The first of these parameters that was sent and is not empty.
    pub(crate) fn first_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name).filter(|value| !value.is_empty()))
    }

    /// The size of an uploaded file, bytes.
    pub(crate) fn file_len(&self, name: &str) -> Option<usize> {
        self.file_lens.get(name).copied()
    }

    pub(crate) fn merge_urlencoded(&mut self, text: &[u8]) {
        for (name, value) in form_urlencoded::parse(text).take(MOST_PARAMS + 1) {
            self.fields.insert(name.into_owned(), value.into_owned());
        }
    }

    fn merge_json(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let value: Value = serde_json::from_slice(body).map_err(|_| Malformed("not JSON"))?;
        let Value::Object(object) = value else { return Err(Malformed("not a JSON object")) };
        for (name, value) in object.into_iter().take(MOST_PARAMS + 1) {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Bool(flag) => u8::from(flag).to_string(),
                other => other.to_string(),
            };
            self.fields.insert(name, text);
        }
        Ok(())
    }

    fn merge_multipart(&mut self, content_type: &str, body: &[u8]) -> Result<(), Malformed> {
        let boundary = boundary_of(content_type).ok_or(Malformed("no multipart boundary"))?;
        let delimiter = format!("--{boundary}");
        let mut parts = split(body, delimiter.as_bytes());
        // What stands before the first delimiter is a preamble.
        parts.next();
        for part in parts.take(MOST_PARAMS + 1) {
            if part.starts_with(b"--") {
                return Ok(());
            }
            self.merge_part(part)?;
        }
        Err(Malformed("multipart body without an end"))
    }

    fn merge_part(&mut self, part: &[u8]) -> Result<(), Malformed> {
        let part = part.strip_prefix(b"\r\n").unwrap_or(part);
        let part = part.strip_suffix(b"\r\n").unwrap_or(part);
        let gap = find(part, b"\r\n\r\n").ok_or(Malformed("multipart part without headers"))?;
        let (head, rest) = part.split_at_checked(gap).unwrap_or((part, &[]));
        let content = rest.get(4..).unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        let disposition = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))
            .ok_or(Malformed("multipart part without a name"))?;
        let name = attribute(disposition, "name").ok_or(Malformed("multipart part unnamed"))?;
        if attribute(disposition, "filename").is_some() {
            self.file_lens.insert(name, content.len());
        } else {
            self.fields.insert(name, String::from_utf8_lossy(content).into_owned());
        }
        Ok(())
    }
}

fn boundary_of(content_type: &str) -> Option<String> {
    attribute(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The value of `name=value` or `name="value"` among attributes that semicolons separate.
fn attribute(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|piece| {
        let (key, value) = piece.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

/// Pieces of `text` between occurrences of `delimiter`.
fn split<'a>(text: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = find(text, delimiter) else {
            rest = None;
            return Some(text);
        };
        rest = text.get(at + delimiter.len()..);
        text.get(..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_wins_over_the_query() {
        let form = Some("application/x-www-form-urlencoded");
        let params = Params::read(Some("key=a&json=1"), form, b"key=b&pageurl=x%20y").unwrap();
        assert_eq!(params.get("key"), Some("b"));
        assert_eq!(params.get("json"), Some("1"));
        assert_eq!(params.get("pageurl"), Some("x y"));
    }

    #[test]
    fn a_json_object_gives_its_scalars_as_text() {
        let body = br#"{"method":"turnstile","json":1,"invisible":true,"proxy":null}"#;
        let params = Params::read(None, Some("application/json; charset=utf-8"), body).unwrap();
        assert_eq!(params.get("json"), Some("1"));
        assert_eq!(params.get("invisible"), Some("1"));
        assert_eq!(params.get("proxy"), None);
        assert!(Params::read(None, Some("application/json"), b"[1]").is_err());
    }

    #[test]
    fn a_multipart_body_gives_fields_and_file_sizes() {
        let body =
            b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\npost\r\n\
            --XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n\r\nxx\r\n--XX--\r\n";
        let params =
            Params::read(None, Some("multipart/form-data; boundary=\"XX\""), body).unwrap();
        assert_eq!(params.get("method"), Some("post"));
        assert_eq!(params.file_len("file"), Some(10));
    }

    #[test]
    fn a_multipart_body_that_was_cut_is_refused() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
        let read = Params::read(None, Some("multipart/form-data; boundary=XX"), body);
        assert_eq!(read, Err(Malformed("multipart body without an end")));
    }
}
