//! The account's key where it has no business: in rows, parameters and names.
//!
//! What a task holds is stored, listed and exported, so the key must never become part of one.

use deadletter::provider::clean::Cleaner;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Shorter keys occur inside other words by chance: of those, only a whole value is one.
const WITHIN_MIN: usize = 8;
/// Stands where a key was taken out.
const MASK: &str = "***";

/// Finds one account's key in text, in its usual spellings.
#[derive(Debug, Default)]
pub(crate) struct KeyWatch {
    key: Option<SecretString>,
    /// None for a key that is too short to be looked for within other text.
    cleaner: Option<Cleaner>,
}

impl KeyWatch {
    /// Looks for `key`; finds nothing where there is none.
    pub(crate) fn new(key: Option<&SecretString>) -> Self {
        let long = key.filter(|key| key.expose_secret().len() >= WITHIN_MIN);
        Self { key: key.cloned(), cleaner: long.map(Cleaner::new) }
    }

    /// True where `text` is the key or holds it.
    pub(crate) fn finds_in(&self, text: &str) -> bool {
        let is_key = self.key.as_ref().is_some_and(|key| key.expose_secret() == text.trim());
        is_key || self.cleaner.as_ref().is_some_and(|cleaner| cleaner.finds_in(text))
    }

    /// True where the key stands anywhere in `value`.
    pub(crate) fn finds_in_value(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => self.finds_in(&number.to_string()),
            Value::String(text) => self.finds_in(text),
            Value::Array(values) => values.iter().any(|value| self.finds_in_value(value)),
            Value::Object(fields) => {
                fields.iter().any(|(name, value)| self.finds_in(name) || self.finds_in_value(value))
            }
        }
    }

    /// `text` without the key.
    pub(crate) fn mask(&self, text: &str) -> String {
        match &self.cleaner {
            Some(cleaner) => cleaner.masked(text),
            None if self.finds_in(text) => MASK.to_owned(),
            None => text.to_owned(),
        }
    }

    /// The fields of a row without the key.
    pub(crate) fn mask_fields(&self, fields: Vec<(String, Value)>) -> Vec<(String, Value)> {
        fields.into_iter().map(|(name, value)| (self.mask(&name), self.mask_value(value))).collect()
    }

    fn mask_value(&self, value: Value) -> Value {
        match value {
            value if !self.finds_in_value(&value) => value,
            Value::Array(values) => {
                Value::Array(values.into_iter().map(|value| self.mask_value(value)).collect())
            }
            Value::Object(fields) => {
                Value::Object(self.mask_fields(fields.into_iter().collect()).into_iter().collect())
            }
            Value::String(text) => self.mask(&text).into(),
            _ => MASK.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_key_is_found_wherever_it_stands_and_taken_out() {
        let watch = KeyWatch::new(Some(&SecretString::from(KEY)));
        for value in [
            json!(KEY),
            json!(format!(" {KEY} ")),
            json!(format!("https://a.example/?k={KEY}&x=1")),
            json!(KEY.to_ascii_uppercase()),
            json!([1, {"deep": KEY}]),
            json!({KEY: 1}),
        ] {
            assert!(watch.finds_in_value(&value), "{value}");
            let masked = watch.mask_value(value).to_string();
            assert!(!masked.to_ascii_lowercase().contains(KEY), "{masked}");
        }
        assert!(!watch.finds_in("6Le-wvkSAAAAAPBMRTvw"));
        assert_eq!(watch.mask_value(json!({"a": [1, "b"]})), json!({"a": [1, "b"]}));
    }

    #[test]
    fn a_short_key_is_a_whole_value_or_nothing() {
        let watch = KeyWatch::new(Some(&SecretString::from("12345")));
        assert!(watch.finds_in_value(&json!(12345)) && watch.finds_in("12345"));
        assert!(!watch.finds_in("https://a.example/12345"));
        assert_eq!(watch.mask("12345"), "***");
        assert!(!KeyWatch::default().finds_in(""));
    }
}
