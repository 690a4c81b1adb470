//! What upstream says, and how it is written in text and in JSON.

use serde_json::{Map, Value, json};

use crate::family;

/// The solved answer of a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Solution {
    /// The field `request`; some methods have none.
    pub(crate) request: Option<Value>,
    /// Fields beside it: `result`, `user_agent`.
    pub(crate) extra: Map<String, Value>,
    /// The field of a createTask solution that holds a bare answer.
    pub(crate) task_field: &'static str,
}

/// The form that an answer is asked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// in.php and res.php with `json=1`.
    Json,
    /// createTask and getTaskResult.
    Task,
}

impl Solution {
    /// The bare answer: a string as it is, a structure as JSON text.
    pub(crate) fn text(&self) -> String {
        match self.request.as_ref().or_else(|| self.extra.get("result")) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

/// One protocol answer, before it has a form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The job has an id; some methods send it as a JSON number.
    Submitted {
        id: String,
        as_number: bool,
    },
    /// `CAPCHA_NOT_READY`.
    Pending,
    Solved(Solution),
    /// Solved, with the price that `get2` adds.
    Priced(Solution),
    /// An `ERROR_...` code, or `IP_BANNED`.
    Error(String),
    /// A word or number that is neither an error nor `OK|...`.
    Word(String),
    Threads {
        threads: usize,
        working: usize,
    },
}

/// What one solve costs by `get2`; the number means nothing on a thread plan.
pub(crate) const PRICE: &str = "0.00299";

impl Answer {
    pub(crate) fn error(code: impl Into<String>) -> Self {
        Self::Error(code.into())
    }

    /// The body, in the form that the client asked for. No newline at its end.
    pub(crate) fn render(&self, form: Form) -> String {
        match form {
            Form::Text => self.text(),
            Form::Json => self.json().to_string(),
            Form::Task => family::render(self).to_string(),
        }
    }

    /// One word for the request log.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Submitted { .. } | Self::Solved(_) | Self::Priced(_) => "OK".to_owned(),
            Self::Pending => "CAPCHA_NOT_READY".to_owned(),
            Self::Error(code) => code.clone(),
            Self::Word(word) => word.clone(),
            Self::Threads { .. } => "THREADS".to_owned(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Submitted { id, .. } => format!("OK|{id}"),
            Self::Solved(solution) => format!("OK|{}", solution.text()),
            Self::Priced(solution) => format!("OK|{}|{PRICE}", solution.text()),
            Self::Pending | Self::Error(_) | Self::Word(_) => self.label(),
            // No source shows a text form; the official client reads these two fields only.
            Self::Threads { .. } => self.json().to_string(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Submitted { id, as_number } => {
                let number = as_number.then(|| id.parse::<u64>().ok()).flatten();
                json!({ "status": 1, "request": number.map_or(Value::from(id.as_str()), Value::from) })
            }
            Self::Solved(solution) => solved(solution),
            Self::Priced(solution) => {
                let mut body = solved(solution);
                if let Value::Object(fields) = &mut body {
                    fields.insert("price".to_owned(), PRICE.into());
                }
                body
            }
            Self::Word(word) => json!({ "status": 1, "request": word }),
            Self::Pending | Self::Error(_) => json!({ "status": 0, "request": self.label() }),
            Self::Threads { threads, working } => {
                json!({ "status": 1, "threads": threads, "working_threads": working })
            }
        }
    }
}

fn solved(solution: &Solution) -> Value {
    let mut fields = Map::from_iter([("status".to_owned(), Value::from(1))]);
    if let Some(request) = &solution.request {
        fields.insert("request".to_owned(), request.clone());
    }
    fields.extend(solution.extra.clone());
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(as_number: bool) -> Answer {
        Answer::Submitted { id: "7012345".to_owned(), as_number }
    }

    #[test]
    fn a_submit_id_is_a_number_or_a_string() {
        assert_eq!(submitted(true).render(Form::Json), r#"{"status":1,"request":7012345}"#);
        assert_eq!(submitted(false).render(Form::Json), r#"{"status":1,"request":"7012345"}"#);
        assert_eq!(submitted(true).render(Form::Text), "OK|7012345");
    }

    #[test]
    fn a_structured_answer_is_an_object_in_json_and_json_text_in_text() {
        let solution =
            Solution { request: Some(json!({"a": 1})), extra: Map::new(), task_field: "token" };
        let answer = Answer::Solved(solution);
        assert_eq!(answer.render(Form::Json), r#"{"status":1,"request":{"a":1}}"#);
        assert_eq!(answer.render(Form::Text), r#"OK|{"a":1}"#);
    }

    #[test]
    fn errors_and_pending_have_status_zero() {
        assert_eq!(Answer::Pending.render(Form::Text), "CAPCHA_NOT_READY");
        assert_eq!(
            Answer::error("ERROR_PAGEURL").render(Form::Json),
            r#"{"status":0,"request":"ERROR_PAGEURL"}"#
        );
    }
}
