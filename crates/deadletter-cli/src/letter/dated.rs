//! Instants as people and programs read them: ISO 8601 in UTC, wherever a field is named `*_at`.
//! Milliseconds, as the store keeps them and as older exports have them, are read as well.

use crate::render;
use deadletter::core::UnixMs;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::Error as _,
};
use serde_json::Value;

/// The one instant whose name says more than that it is one.
const UNTIL: &str = "permit_until";

/// `document` with its instants as text.
pub(crate) fn dated(document: &impl Serialize) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(document)?;
    each_instant(&mut value, &|instant| instant.as_i64().and_then(text_of));
    Ok(value)
}

/// For `#[serde(with = "dated")]`.
pub(super) fn serialize<T: Serialize, S: Serializer>(it: &T, to: S) -> Result<S::Ok, S::Error> {
    dated(it).map_err(S::Error::custom)?.serialize(to)
}

/// For `#[serde(with = "dated")]`.
pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let mut value = Value::deserialize(from)?;
    each_instant(&mut value, &|instant| instant.as_str().and_then(ms_of));
    serde_path_to_error::deserialize(value).map_err(D::Error::custom)
}

/// What lies beyond the calendar ("never") stays a number.
fn text_of(ms: i64) -> Option<Value> {
    Timestamp::from_millisecond(ms).is_ok().then(|| render::instant(UnixMs(ms)).into())
}

fn ms_of(text: &str) -> Option<Value> {
    Some(text.parse::<Timestamp>().ok()?.as_millisecond().into())
}

fn each_instant(value: &mut Value, shown: &dyn Fn(&Value) -> Option<Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Object(_) | Value::Array(_) => each_instant(value, shown),
                    _ if name.ends_with("_at") || name == UNTIL => {
                        if let Some(shown) = shown(value) {
                            *value = shown;
                        }
                    }
                    _ => {}
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each_instant(value, shown)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Dates {
        #[serde(with = "super")]
        rows: Vec<Row>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        due_at: UnixMs,
        permit_until: Option<UnixMs>,
        lease_ms: i64,
    }

    fn dates(due_at: i64) -> Dates {
        let row = Row { due_at: UnixMs(due_at), permit_until: Some(UnixMs(1)), lease_ms: 7 };
        Dates { rows: vec![row] }
    }

    #[test]
    fn instants_are_text_and_come_back_to_the_millisecond() {
        let text = serde_json::to_value(dates(1_767_225_600_123)).expect("JSON");
        let row = json!({"due_at": "2026-01-01T00:00:00.123Z",
            "permit_until": "1970-01-01T00:00:00.001Z", "lease_ms": 7});
        assert_eq!(text, json!({"rows": [row]}));
        for ms in [1_767_225_600_123, 0, -1, i64::MAX] {
            let text = serde_json::to_value(dates(ms)).expect("JSON");
            assert_eq!(serde_json::from_value::<Dates>(text).expect("read"), dates(ms));
        }
    }

    #[test]
    fn milliseconds_of_older_exports_are_read() {
        let older = json!({"rows": [{"due_at": 5, "permit_until": 1, "lease_ms": 7}]});
        assert_eq!(serde_json::from_value::<Dates>(older).expect("read"), dates(5));
        let wrong = json!({"rows": [{"due_at": "soon", "permit_until": 1, "lease_ms": 7}]});
        let told = serde_json::from_value::<Dates>(wrong).expect_err("no instant").to_string();
        assert!(told.contains("due_at"), "{told}");
    }
}
