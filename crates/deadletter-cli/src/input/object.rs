//! The fields of a JSON object, each once: of two with one name, only one can be meant.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::{collections::HashSet, fmt};

/// The fields of the object that `text` is, or why it is none.
pub(super) fn fields_of(text: &str) -> Result<Vec<(String, Value)>, String> {
    let is_object = text.trim_start().starts_with('{');
    match serde_json::from_str::<Fields>(text) {
        Ok(Fields { repeated: Some(name), .. }) => {
            Err(format!("it has two fields of the name {name:?}"))
        }
        Ok(fields) => Ok(fields.fields),
        Err(error) if is_object || error.is_syntax() || error.is_eof() => {
            // The error names a place within the text and never repeats a value.
            Err(format!("it is not JSON: {error}"))
        }
        Err(_) => Err("it is not an object".to_owned()),
    }
}

struct Fields {
    fields: Vec<(String, Value)>,
    /// The first name that stands twice.
    repeated: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let (mut fields, mut repeated, mut seen) = (Vec::new(), None, HashSet::new());
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if !seen.insert(name.clone()) {
                repeated.get_or_insert_with(|| name.clone());
            }
            fields.push((name, value));
        }
        // The whole object is read, so that what is no JSON is called so.
        Ok(Fields { fields, repeated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fields_of_one_name_are_told_and_nothing_else_is_taken_for_that() {
        let fields = fields_of(r#" {"a": 1, "b": {"a": 2}} "#).expect("an object");
        assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        for (text, why) in [
            (r#"{"url": "x", "a": 1, "url": "x"}"#, r#"two fields of the name "url""#),
            (r#"{"a": 1, "\u0061": 2}"#, r#"two fields of the name "a""#),
            (r#"{"a": 1, "a": 2"#, "it is not JSON"),
            ("[1]", "it is not an object"),
            ("\"secret\"", "it is not an object"),
            ("7", "it is not an object"),
            ("null", "it is not an object"),
            ("{\"a\": tru}", "it is not JSON"),
            ("nothing", "it is not JSON"),
        ] {
            let told = fields_of(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
