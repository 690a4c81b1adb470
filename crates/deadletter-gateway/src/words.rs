//! Our states in upstream's words: a client must never meet a code that upstream does not have.

use deadletter::core::Task;

/// The key is missing, or is none.
pub(crate) const WRONG_KEY: &str = "ERROR_WRONG_USER_KEY";
/// The key is well formed, and nobody has it.
pub(crate) const NO_SUCH_KEY: &str = "ERROR_KEY_DOES_NOT_EXIST";
/// An id that is not digits.
pub(crate) const WRONG_ID: &str = "ERROR_WRONG_ID_FORMAT";
/// An id that is unknown, purged or another key's.
pub(crate) const NO_SUCH_ID: &str = "ERROR_WRONG_CAPTCHA_ID";
/// The request cannot be read, or lacks what every submit has.
pub(crate) const BAD_PARAMETERS: &str = "ERROR_BAD_PARAMETERS";
/// An action that nobody knows.
pub(crate) const NO_SUCH_ACTION: &str = "ERROR_EMPTY_ACTION";
/// More is waiting than the gateway takes, or it is stopping: try again.
pub(crate) const FULL: &str = "ERROR_NO_SLOT_AVAILABLE";
/// The key submits faster than it may.
pub(crate) const TOO_FAST: &str = "ERROR_TOO_MUCH_REQUESTS";
/// A register was changed.
pub(crate) const OK: &str = "OK";
/// What is said of an answer is recorded.
pub(crate) const RECORDED: &str = "OK_REPORT_RECORDED";
/// It is not: the task is not solved, or too many reports wait.
pub(crate) const NOT_RECORDED: &str = "ERROR_REPORT_NOT_RECORDED";
/// The answer was reported before.
pub(crate) const REPORTED: &str = "ERROR_DUPLICATE_REPORT";
/// The store failed; what was asked may be asked again.
pub(crate) const STORE_FAILED: &str = "ERROR_SERVER_ERROR";
/// What a task that is dead, buried or cancelled died of: the same word that is delivered.
pub(crate) fn death(task: &Task) -> String {
    deadletter::death(task.cause.as_ref(), task.class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::{AccountName, Cause, Class, Policy, TaskId, UnixMs};

    const UNSOLVABLE: &str = "ERROR_CAPTCHA_UNSOLVABLE";

    #[test]
    fn a_death_is_told_in_upstreams_words_alone() {
        let account = AccountName::new("main").unwrap();
        let mut task =
            Task::queued(TaskId::at(UnixMs(0), 1), account, &Policy::default(), UnixMs(0));
        for (cause, class, told) in [
            ("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable, "ERROR_CAPTCHA_UNSOLVABLE"),
            ("ERROR_WRONG_GOOGLEKEY", Class::Permanent, "ERROR_WRONG_GOOGLEKEY"),
            ("ERROR_BAD_PROXY", Class::Proxy, "ERROR_BAD_PROXY"),
            ("ERROR_OF_TOMORROW", Class::Unknown, "ERROR_OF_TOMORROW"),
            ("ERROR_NO_SLOT_AVAILABLE", Class::Capacity, UNSOLVABLE),
            ("ERROR_SERVER_ERROR", Class::Transient, UNSOLVABLE),
            ("ERROR_WRONG_CAPTCHA_ID", Class::Lost, UNSOLVABLE),
            ("TIMEOUT", Class::Transient, UNSOLVABLE),
            ("DEADLINE", Class::Permanent, UNSOLVABLE),
        ] {
            task.cause = Some(Cause::new(cause));
            task.class = Some(class);
            assert_eq!(death(&task), told, "{cause}");
        }
        task.cause = None;
        assert_eq!(death(&task), UNSOLVABLE);
    }
}
