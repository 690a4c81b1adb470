//! What is said of a task that ended: our id and the answer, or the word that upstream would say.

use super::Form;
use crate::{
    outbound::Parcel,
    provider::createtask::{Told, told},
};
use deadletter_core::{Answer, Cause, Class, Task};
use form_urlencoded::Serializer;

/// What a task died of where upstream has no word for it: patience, silence, the line.
const UNSOLVABLE: &str = "ERROR_CAPTCHA_UNSOLVABLE";

/// What a task died of, in upstream's words.
///
/// An error of upstream's is told as it was. What is ours (time-outs, networks, deadlines), and what
/// upstream says of its own load, is no verdict on a task: the nearest one is that it was not solved.
#[must_use]
pub fn death(cause: Option<&Cause>, class: Option<Class>) -> String {
    let upstream = cause.filter(|cause| {
        cause.as_str().starts_with("ERROR_")
            && !matches!(class, Some(Class::Capacity | Class::Transient | Class::Lost))
    });
    upstream.map_or_else(|| UNSOLVABLE.to_owned(), ToString::to_string)
}

/// What is posted: of the answer, or of the code where there is none.
#[must_use]
pub(super) fn message(form: Form, task: &Task, end: Result<&Answer, &str>) -> Parcel {
    match form {
        Form::Pingback => {
            let code = end.map_or_else(str::to_owned, |answer| answer.expose().to_owned());
            let mut body = Serializer::new(String::new());
            body.append_pair("id", &task.id.to_string()).append_pair("code", &code);
            Parcel::Form(body.finish())
        }
        Form::Callback => Parcel::Json(told(&Told { task, end, names_task: true, ip: None })),
    }
}
