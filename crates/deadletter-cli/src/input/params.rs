//! Parameters from the command line: `NAME=VALUE`, or `NAME=@FILE` for what is long or secret.

use super::RECORD_BYTES;
use crate::fault::{Fault, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{fs::File, io::Read};

/// Longest file: base64 adds a third, and the parameter still fits into a record.
const FILE_BYTES: u64 = RECORD_BYTES as u64 / 4 * 3;

/// A `--param` argument.
pub(crate) fn param_of(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("key" | "clientKey", _)) => {
            Err("the key never travels by argument: set CAPTCHAAI_API_KEY".to_owned())
        }
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it has the form NAME=VALUE, or NAME=@FILE".to_owned()),
    }
}

/// The values of `--param` arguments; one that is given twice must say the same.
pub(crate) fn values_of(params: &[(String, String)]) -> Result<Vec<(String, Value)>> {
    let mut values: Vec<(String, Value)> = Vec::new();
    for (name, value) in params {
        let value = Value::from(value_of(name, value)?);
        if values.iter().any(|(other, said)| other == name && *said != value) {
            return Err(twice(name));
        }
        values.push((name.clone(), value));
    }
    Ok(values)
}

/// For a parameter with two values.
pub(crate) fn twice(name: &str) -> Fault {
    Fault::usage(format!("{name} is given twice, and the two differ"))
        .fix("give each parameter once, by its own option or by --param")
}

fn value_of(name: &str, value: &str) -> Result<String> {
    let Some(path) = value.strip_prefix('@') else { return Ok(value.to_owned()) };
    let failed = |error| {
        Fault::usage(format!("cannot read {path} for {name}"))
            .because(error)
            .fix("a value after @ is the path of a file; without @ it is sent as it is")
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Fault::usage(format!("{path} is too long for {name}"))
            .why(format!("a file may have {} MiB", FILE_BYTES >> 20))
            .fix("send a smaller one: upstream refuses images far below that"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.trim_end().to_owned()),
        Ok(text) => binary(name, path, text.as_bytes()),
        Err(error) => binary(name, path, error.as_bytes()),
    }
}

/// An image is sent in base64; anything else takes text alone.
fn binary(name: &str, path: &str, bytes: &[u8]) -> Result<String> {
    // `file` of method post goes as `body` of method base64, which upstream treats alike.
    if matches!(name, "body" | "file") || name.starts_with("image_base64_") {
        return Ok(STANDARD.encode(bytes));
    }
    Err(Fault::usage(format!("{path} is not text, and {name} takes text"))
        .why("it holds bytes that are no UTF-8; images go into body, file or image_base64_1 to 9")
        .fix(format!("save {path} as UTF-8, or send it as another parameter")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, bytes: &[u8]) -> Result<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).expect("written");
        value_of(name, &format!("@{}", path.display()))
    }

    #[test]
    fn an_image_is_sent_in_base64_and_text_as_it_is() {
        let png = b"\x89PNG\r\n\x1a\n\0\0";
        for name in ["body", "file", "image_base64_3"] {
            assert_eq!(value(name, png).expect("encoded"), "iVBORw0KGgoAAA==");
        }
        // GIFs can be plain ASCII but for their zeros.
        assert_eq!(value("body", b"GIF89a\0").expect("encoded"), "R0lGODlhAA==");
        assert_eq!(value("body", b"iVBORw0KGgo=\n").expect("text"), "iVBORw0KGgo=");
        assert_eq!(value("data-s", "grüß\n".as_bytes()).expect("text"), "grüß");
        assert_eq!(value_of("a", "b@c").expect("no file"), "b@c");
    }

    #[test]
    fn bytes_that_are_no_text_are_told_as_such() {
        let fault = value("data-s", b"\xff\xfe").expect_err("it takes text");
        assert!(fault.what.contains("is not text, and data-s takes text"), "{}", fault.what);
        assert!(fault.fix.is_some());
        assert!(value_of("body", "@no/such/file").expect_err("missing").fix.is_some());
        let long = vec![b'a'; usize::try_from(FILE_BYTES).expect("it fits") + 1];
        assert!(value("body", &long).expect_err("too long").what.contains("too long"));
    }

    #[test]
    fn a_parameter_is_given_once() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(values_of(&[pair("a", "1"), pair("a", "2")]).is_err());
        assert_eq!(values_of(&[pair("a", "1"), pair("b", "2")]).expect("good").len(), 2);
        assert!(param_of("key=x").is_err() && param_of("x").is_err() && param_of("=x").is_err());
        assert_eq!(param_of("a=b=c"), Ok(pair("a", "b=c")));
    }
}
