//! What a task asks for and what came back: the two places that may hold secrets.

use crate::{AttemptToken, TaskId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::{fmt, io};

/// The request of a task: named parameters as the provider understands them.
///
/// It may hold proxy credentials and cookies, so it cannot be printed or serialised by accident:
/// [`Payload::expose`] is the only way in.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Map<String, Value>);

impl Payload {
    /// A payload from named parameters.
    #[must_use]
    pub const fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The parameters, secrets included.
    #[must_use]
    pub const fn expose(&self) -> &Map<String, Value> {
        &self.0
    }

    /// One parameter as text, where it is text or a number.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.as_str().into()),
            Value::Number(n) => Some(n.to_string().into()),
            Value::Bool(b) => Some(if *b { "1" } else { "0" }.into()),
            _ => None,
        }
    }

    /// The JSON text that a store keeps in `requests`.
    #[must_use]
    pub fn to_stored(&self) -> String {
        serde_json::to_string(&self.0).expect("names and JSON values are JSON")
    }

    /// How long that text is, without writing it.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, &self.0).expect("texts as keys, and nothing to fail");
        length.0
    }

    /// The payload that [`Payload::to_stored`] wrote.
    pub fn from_stored(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} fields)", self.0.len())
    }
}

/// An answer as upstream gave it, with what is known of its age.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The task that asked.
    pub task: TaskId,
    /// The attempt that was answered: one answer per attempt.
    pub token: AttemptToken,
    /// The provider dialect of `raw` (`res.php/json`, `res.php/text`).
    pub dialect: String,
    /// The body as it came.
    pub raw: SecretString,
    /// The answer itself, normalised: a token or a text; structured answers as JSON text.
    pub text: SecretString,
    /// The user agent that the answer is bound to, where upstream names one.
    pub user_agent: Option<String>,
    /// The earliest moment at which it may have been solved: it never looks younger than it is.
    pub solved_at: UnixMs,
    /// When it stops being of use at the earliest, where its type expires.
    pub expires_at: Option<UnixMs>,
    /// When we read it.
    pub read_at: UnixMs,
}

/// Two that say the same, in what is secret too.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        let known = |it: &Self| (it.task, it.token, it.solved_at, it.expires_at, it.read_at);
        known(self) == known(other)
            && (&self.dialect, &self.user_agent) == (&other.dialect, &other.user_agent)
            && self.raw.expose_secret() == other.raw.expose_secret()
            && self.expose() == other.expose()
    }
}

impl Answer {
    /// The answer text, for whoever asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_never_prints_its_fields() {
        let fields = serde_json::json!({"proxy": "user:hunter2@10.0.0.1:80"});
        let payload = Payload::new(fields.as_object().expect("an object").clone());
        assert_eq!(format!("{payload:?}"), "Payload(1 fields)");
        assert_eq!(Payload::from_stored(&payload.to_stored()).ok(), Some(payload));
    }
}
