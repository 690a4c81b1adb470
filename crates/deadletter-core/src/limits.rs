//! How large the parts of a new task may be: a limit on every list and string that others choose.

use crate::{Payload, Task};

/// Tags of a task: far more than anybody sorts by.
const TAGS: usize = 64;
/// Bytes of a tag, a batch, an owner or a method: words, not texts.
const WORD: usize = 256;
/// Bytes of an idempotency key: what a caller composes of several words.
const KEY: usize = 512;
/// Bytes of a site key, a host or a proxy, by which tasks are counted and grouped, and of the place
/// that is told of a task.
const DIMENSION: usize = 1_024;
/// Bytes of a payload: nine images in base64 and their parameters, as upstream's largest method
/// takes them.
const PAYLOAD: usize = 16 * 1_024 * 1_024;

/// What is too large to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found} {unit}; at most {limit} are allowed")]
pub struct TooLarge {
    /// Which part, with its verb.
    what: &'static str,
    unit: &'static str,
    found: usize,
    limit: usize,
}

/// Whether a new task keeps every limit.
pub(crate) fn check(task: &Task, payload: &Payload) -> Result<(), TooLarge> {
    let dimensions = &task.dimensions;
    let none = String::new();
    let text = |text: &Option<String>| text.as_ref().unwrap_or(&none).len();
    let tag = dimensions.tags.iter().map(String::len).max().unwrap_or(0);
    let parts = [
        ("the payload has", "bytes", payload.stored_bytes(), PAYLOAD),
        ("the task has", "tags", dimensions.tags.len(), TAGS),
        ("the longest tag has", "bytes", tag, WORD),
        ("the batch has", "bytes", text(&dimensions.batch), WORD),
        ("the owner has", "bytes", text(&task.owner), WORD),
        ("the idempotency key has", "bytes", text(&task.idempotency_key), KEY),
        ("the method has", "bytes", dimensions.method.len(), WORD),
        ("the site key has", "bytes", text(&dimensions.sitekey), DIMENSION),
        ("the host has", "bytes", text(&dimensions.host), DIMENSION),
        ("the proxy has", "bytes", text(&dimensions.proxy), DIMENSION),
        ("the place to tell has", "bytes", text(&task.place), DIMENSION),
    ];
    let too_large = parts.into_iter().find(|(_, _, found, limit)| found > limit);
    match too_large {
        None => Ok(()),
        Some((what, unit, found, limit)) => Err(TooLarge { what, unit, found, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewTask, samples::task};
    use serde_json::{Map, Value};

    fn payload(bytes: usize) -> Payload {
        Payload::new(Map::from_iter([("body".to_owned(), Value::from("x".repeat(bytes)))]))
    }

    fn refused(edit: impl FnOnce(&mut Task)) -> String {
        let mut task = task();
        edit(&mut task);
        NewTask::new(task, payload(1)).expect_err("too large").to_string()
    }

    #[test]
    fn each_part_of_a_new_task_has_a_limit_and_says_it() {
        let long = |n: usize| Some("x".repeat(n));
        assert_eq!(
            refused(|task| task.dimensions.batch = long(257)),
            "the batch has 257 bytes; at most 256 are allowed"
        );
        assert!(refused(|task| task.dimensions.tags = vec![String::new(); 65]).contains("65 tags"));
        assert!(refused(|task| task.dimensions.tags.extend(long(257))).contains("longest tag"));
        assert!(refused(|task| task.owner = long(257)).contains("owner"));
        assert!(refused(|task| task.idempotency_key = long(513)).contains("idempotency key"));
        assert!(refused(|task| task.dimensions.method = "x".repeat(257)).contains("method"));
        assert!(refused(|task| task.dimensions.sitekey = long(1_025)).contains("site key"));
        assert!(refused(|task| task.dimensions.host = long(1_025)).contains("host"));
        assert!(refused(|task| task.dimensions.proxy = long(1_025)).contains("proxy"));
        assert!(refused(|task| task.place = long(1_025)).contains("place to tell"));
        let mut largest = task();
        largest.dimensions.batch = long(256);
        assert!(NewTask::new(largest, payload(1)).is_ok());
    }

    #[test]
    fn a_payload_of_nine_images_passes_and_a_larger_one_does_not() {
        let frame = payload(0).stored_bytes();
        assert_eq!(frame, payload(0).to_stored().len());
        assert!(NewTask::new(task(), payload(PAYLOAD - frame)).is_ok());
        let refused = NewTask::new(task(), payload(PAYLOAD - frame + 1)).expect_err("too large");
        assert!(refused.to_string().starts_with("the payload has 16777217 bytes"), "{refused}");
    }
}
