//! Where the end of a task is told, and in which form: parameters of its request.
//!
//! A URL may hold a secret, so it stands nowhere else, and is never printed.

use crate::Job;
use deadletter_core::Payload;
use secrecy::SecretString;

/// The parameters that name a target. No provider sends them: upstream's message would go past the
/// store, and tell of upstream's id.
pub const FIELDS: [&str; 3] = [PINGBACK, "callback", CALLBACK];
/// in.php's parameter; 2captcha knows `callback` as well.
const PINGBACK: &str = "pingback";
/// createTask's field.
const CALLBACK: &str = "callbackUrl";

/// How an end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As 2captcha does: a form with `id` and `code`.
    Pingback,
    /// As the createTask family does: the JSON of getTaskResult, with the task's id.
    Callback,
}

/// Where and how an end is told.
#[derive(Clone, Debug)]
pub struct Target {
    /// The whole URL.
    pub url: SecretString,
    /// The form.
    pub form: Form,
}

impl Target {
    /// The target that a request names.
    #[must_use]
    pub fn of(payload: &Payload) -> Option<Self> {
        let url = |name: &str| {
            let url = payload.text(name)?;
            (!url.trim().is_empty()).then(|| SecretString::from(url.trim()))
        };
        let pingback = url(PINGBACK).or_else(|| url("callback"));
        let callback = url(CALLBACK).map(|url| Self { url, form: Form::Callback });
        callback.or_else(|| pingback.map(|url| Self { url, form: Form::Pingback }))
    }
}

impl Job {
    /// The same job, whose ends are told to that URL. What the request says of it by other names, or
    /// said before, is not asked any more.
    #[must_use]
    pub fn told_to(mut self, url: &str, form: Form) -> Self {
        let mut fields = self.payload.expose().clone();
        fields.retain(|name, _| !FIELDS.contains(&name.as_str()));
        let name = match form {
            Form::Pingback => PINGBACK,
            Form::Callback => CALLBACK,
        };
        fields.insert(name.to_owned(), url.into());
        self.payload = Payload::new(fields);
        self.is_told = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    fn of(fields: &serde_json::Value) -> Option<(String, Form)> {
        let payload = Payload::new(fields.as_object().unwrap().clone());
        Target::of(&payload).map(|it| (it.url.expose_secret().to_owned(), it.form))
    }

    #[test]
    fn a_target_stands_under_one_of_its_names_and_is_never_printed() {
        for (fields, url, form) in [
            (json!({"pingback": " http://a/?s=1 "}), "http://a/?s=1", Form::Pingback),
            (json!({"callback": "http://b/"}), "http://b/", Form::Pingback),
            (json!({"pingback": "", "callback": "http://b/"}), "http://b/", Form::Pingback),
            (json!({"callbackUrl": "http://c/"}), "http://c/", Form::Callback),
        ] {
            assert_eq!(of(&fields), Some((url.to_owned(), form)), "{fields}");
        }
        assert_eq!(of(&json!({"pingback": null, "method": "m"})), None);
        let job =
            Job::new("m").param("callback", "http://b/").told_to("http://s/?x", Form::Callback);
        assert_eq!(job.payload.expose().len(), 2);
        let target = Target::of(&job.payload).unwrap();
        assert!(target.form == Form::Callback && !format!("{target:?}{job:?}").contains("http"));
    }
}
