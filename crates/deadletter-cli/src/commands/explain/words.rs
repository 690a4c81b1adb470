//! Words beside the provider's table: what else can be met in a history, and advice by class and
//! reason.

use deadletter::core::{Class, DeadReason, OnDoubt};

/// A word that is no answer to a submit or a poll.
pub(super) struct Word {
    /// The word.
    pub(super) word: &'static str,
    /// What happened.
    pub(super) meaning: &'static str,
    /// What deadletter does.
    pub(super) done: &'static str,
    /// What the reader can do.
    pub(super) advice: &'static str,
}

/// Words of histories, of imported letters, and of calls that deadletter does not make.
pub(super) const WORDS: &[Word] = &[
    Word {
        word: "OUTRUN",
        meaning: "An earlier attempt of the task answered while this one was under way.",
        done: "The first answer is kept; this attempt holds its thread until its hold time ends.",
        advice: "Nothing.",
    },
    Word {
        word: "CANCELLED",
        meaning: "The task was stopped by its owner while this attempt was under way.",
        done: "A late answer is kept, unused.",
        advice: "Nothing.",
    },
    Word {
        word: "UNWRITTEN",
        meaning: "What came of this attempt could not be written down when it came.",
        done: "Taken as in doubt: it may have been paid for.",
        advice: "Look at the store: `deadletter doctor` checks it.",
    },
    Word {
        word: "UNKNOWN",
        meaning: "An error without a code, as imported letters have it.",
        done: "Kept as it came; nothing is submitted by itself.",
        advice: "Look at the error with `deadletter show ID`; redrive it if it was a passing one.",
    },
    Word {
        word: "OK_REPORT_RECORDED",
        meaning: "Upstream has taken a report of a good or bad answer.",
        done: "deadletter reports nothing by itself.",
        advice: "Nothing.",
    },
    Word {
        word: "ERROR_REPORT_NOT_RECORDED",
        meaning: "Upstream did not take a report of a good or bad answer: it came late or twice.",
        done: "deadletter reports nothing by itself.",
        advice: "Report an answer once, soon after it came.",
    },
    Word {
        word: "ERROR_DUPLICATE_REPORT",
        meaning: "The answer was reported before.",
        done: "deadletter reports nothing by itself.",
        advice: "Nothing.",
    },
];

/// What to do about a class of failures.
pub(super) const fn of_class(class: Class) -> &'static str {
    match class {
        Class::Capacity => "If it lasts, use fewer threads, or look for who else uses the key.",
        Class::Transient => "If it lasts, look at the line and at upstream's status; then redrive.",
        Class::Unsolvable => {
            "If one site key always fails, look at its page: its captcha may have changed."
        }
        Class::Permanent => "Correct the request and submit it as a new task.",
        Class::Proxy => "Give another proxy, or several.",
        Class::Account => "Put the account right: key, plan, allowed addresses.",
        Class::Lost => "Nothing; upstream forgets ids after a while.",
        Class::Stale => "Read fresh parameters from the page and submit a new task.",
        Class::Unknown => {
            "Find out what the code means, and name its class under [codes] in deadletter.toml."
        }
    }
}

/// What to do about tasks that died so, where that policy is set.
pub(super) const fn of_reason(reason: DeadReason, on_doubt: OnDoubt) -> &'static str {
    match reason {
        DeadReason::AttemptsExhausted => {
            "Look at its cause with `deadletter show ID`; redrive it once that is over."
        }
        DeadReason::Permanent => "Correct the request and submit it as a new task.",
        DeadReason::StaleInput => "Read fresh parameters from the page and submit a new task.",
        DeadReason::Proxy => "Submit it as a new task with a proxy that works.",
        DeadReason::Unknown => {
            "Find out what the code means, name its class under [codes], then redrive it."
        }
        DeadReason::Deadline => {
            "Redrive it if the answer is still wanted: a redrive drops the old deadline."
        }
        DeadReason::InDoubt => match on_doubt {
            OnDoubt::DeadLetter => {
                "Redrive it if paying twice is no harm. Your policy.on_doubt is \"dead_letter\", which \
                 leaves that to you; \"resubmit\" does so by itself."
            }
            OnDoubt::Resubmit => {
                "Redrive it if paying twice is no harm. Your policy.on_doubt is \"resubmit\": what is in \
                 doubt now is submitted again by itself, and no task dies of it; one that did died \
                 under \"dead_letter\"."
            }
        },
        DeadReason::UpstreamLost => {
            "Redrive it; if it repeats, ask upstream how long it keeps ids."
        }
        DeadReason::Panicked => "Report the defect with the output of `deadletter show ID`.",
    }
}
