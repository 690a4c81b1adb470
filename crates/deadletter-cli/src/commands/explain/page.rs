//! One page of `explain`: what a word means, what is done about it, what to do.

use super::{
    course::{End, Met, Redrive, Rules},
    words::{self, Word},
};
use deadletter::{
    core::{Cause, Class, DeadReason, Failure, Happened, decide::Eligibility},
    provider::captchaai::codes::{self, Code, OnPoll},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// No free thread, or none at all: upstream has one code for both.
const ZERO_BALANCE: &str = "ERROR_ZERO_BALANCE";

/// The other way that a failure of the proxy can go.
const TWO_PROXIES: &str = "where two proxies are given";

/// When something is done that nobody asks for in the course of things.
const A_REDRIVE: &str = "a redrive";
/// What is done first where an attempt may still answer.
const RESUMES: &str =
    "Asks again for the paid id, while its answer may come and be of use; after that:";

/// What kind of word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A code of upstream's, or of ours.
    Code,
    /// A class of codes.
    Class,
    /// Why a task is dead.
    Reason,
}

impl Kind {
    /// The word that is shown.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Class => "class",
            Self::Reason => "reason",
        }
    }
}

/// What is told of one word.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    /// The word.
    pub(super) word: String,
    /// What kind of word it is.
    pub(super) kind: Kind,
    /// What a code means for the task.
    pub(super) class: Option<Class>,
    /// What happened.
    pub(super) meaning: String,
    /// What deadletter does, by when it is met.
    pub(super) done: Vec<(&'static str, String)>,
    /// What the reader can do.
    pub(super) advice: String,
    /// Codes of the class, or codes that end so.
    pub(super) codes: Vec<String>,
}

impl Page {
    /// The page as a document.
    pub(super) fn json(&self) -> Value {
        let done = self.done.iter().map(|(when, what)| json!({"when": when, "what": what}));
        json!({
            "word": self.word, "kind": self.kind.label(), "class": self.class,
            "meaning": self.meaning, "done": done.collect::<Vec<_>>(), "advice": self.advice,
            "codes": self.codes,
        })
    }
}

/// Every page there is: the table's codes with the user's own, other words, classes, reasons.
pub(super) fn all(rules: &Rules<'_>, users: &BTreeMap<String, Class>) -> Vec<Page> {
    let mut pages: Vec<Page> =
        codes::all().iter().map(|code| of_code(rules, code, users)).collect();
    let is_known = |name: &str| codes::find(name).is_some();
    let own = users.iter().filter(|(name, _)| !is_known(name));
    pages.extend(own.map(|(name, class)| of_users(rules, name, *class)));
    pages.extend(words::WORDS.iter().map(of_word));
    let classes: Vec<Page> =
        Class::ALL.iter().map(|class| of_class(rules, *class, &pages)).collect();
    let reasons = DeadReason::ALL.iter().map(|reason| of_reason(rules, *reason, &pages));
    let reasons: Vec<Page> = reasons.collect();
    pages.extend(classes);
    pages.extend(reasons);
    pages
}

fn of_code(rules: &Rules<'_>, code: &Code, users: &BTreeMap<String, Class>) -> Page {
    let user = users.iter().find(|(name, _)| codes::find(name) == Some(code));
    let (on_submit, on_poll) = match user {
        Some((_, class)) => (*class, OnPoll::Is(*class)),
        None => (code.on_submit, code.on_poll),
    };
    let failure = |class| {
        Failure::new(code.code, class)
            .with_retry_after_ms(code.retry_after_ms.filter(|_| user.is_none()))
    };
    let polled = match on_poll {
        OnPoll::NotReady => Happened::NotReady { elapsed_ms: 0 },
        OnPoll::Is(class) => Happened::Failed(failure(class)),
    };
    let done = met(code.code, rules).unwrap_or_else(|| {
        let mut done = vec![
            ("on a submit", Met::Submit, Happened::Refused(failure(on_submit))),
            ("on a poll", Met::Poll, polled),
        ];
        // The one code whose class the account's threads decide.
        if code.code == ZERO_BALANCE && user.is_none() {
            let without = Happened::Refused(failure(Class::Account));
            done.push(("without any thread or plan", Met::Submit, without));
        }
        done
    });
    Page {
        word: code.code.to_owned(),
        kind: Kind::Code,
        class: Some(on_submit),
        meaning: code.meaning.to_owned(),
        done: told(rules, done),
        advice: code.advice.to_owned(),
        codes: Vec::new(),
    }
}

/// Our own causes are not answers of upstream's: each is something else that happens.
fn met(code: &str, rules: &Rules<'_>) -> Option<Vec<(&'static str, Met, Happened)>> {
    let failure = || Failure::new(code, Class::Transient);
    let after =
        ("on a submit, once bytes may have left", Met::Submit, Happened::InDoubt(failure()));
    let polled = ("on a poll", Met::Poll, Happened::Unread(failure()));
    Some(match code {
        Cause::NETWORK => {
            let before =
                ("on a submit, before a byte left", Met::Submit, Happened::Unsent(failure()));
            vec![before, after, polled]
        }
        Cause::UNREADABLE => vec![after, polled],
        Cause::TIMEOUT => {
            let elapsed_ms = rules.terms.timeout_ms;
            vec![("past the attempt's time", Met::Poll, Happened::NotReady { elapsed_ms })]
        }
        Cause::DEADLINE => vec![("when it passes", Met::Poll, Happened::DeadlinePassed)],
        Cause::PANIC => vec![
            ("on a submit", Met::Submit, Happened::Panicked(String::new())),
            ("on a poll", Met::Poll, Happened::Panicked(String::new())),
        ],
        Cause::REQUEST_MISSING => {
            vec![("when it is claimed", Met::Submit, Happened::RequestMissing)]
        }
        Cause::ATTEMPT_MISSING => {
            vec![("when it is noticed", Met::Submit, Happened::AttemptMissing)]
        }
        Cause::WORKER_DIED => vec![("when it is noticed", Met::Submit, Happened::WorkerDied)],
        _ => return None,
    })
}

/// What is done each time, and what a redrive does with what comes of it.
fn told(rules: &Rules<'_>, met: Vec<(&'static str, Met, Happened)>) -> Vec<(&'static str, String)> {
    let mut done = Vec::new();
    let mut redrive = None;
    for (when, met, happened) in met {
        let Some(course) = rules.course(met, &happened) else { continue };
        done.push((when, course.words()));
        let is_told = done.iter().any(|(when, _)| *when == TWO_PROXIES);
        if course.end == End::Dead(DeadReason::Proxy) && !is_told {
            let two = Rules { proxies: 2, ..*rules };
            let course = two.course(met, &happened);
            done.extend(course.map(|course| (TWO_PROXIES, course.words())));
        }
        if let End::Dead(_) = course.end {
            redrive.get_or_insert(course.redrive);
        }
    }
    done.extend(redrive.map(|redrive| (A_REDRIVE, redriven(redrive))));
    done
}

fn redriven(redrive: Redrive) -> String {
    match redrive {
        Redrive { at_once: Eligibility::Resume, later } => {
            format!("{RESUMES} {}", verdict_words(later))
        }
        Redrive { at_once, .. } => verdict_words(at_once).to_owned(),
    }
}

const fn verdict_words(verdict: Eligibility) -> &'static str {
    match verdict {
        Eligibility::Resume => "Asks for it again.",
        Eligibility::Submit => "Submits it again.",
        Eligibility::Hopeless => {
            "Leaves it out, since the same request fails again; --force submits it."
        }
        Eligibility::Spent => "Leaves it out, since all submits are spent; exhume allows more.",
        Eligibility::Held => "Leaves it out: it is held.",
        Eligibility::NoAccount => "Leaves it out: its account is not configured.",
        Eligibility::NobodyWaits => "Leaves it out, since nobody waits for its answer.",
        Eligibility::NotDead => "Leaves it out: it is no dead letter.",
    }
}

fn of_users(rules: &Rules<'_>, name: &str, class: Class) -> Page {
    let failure = Failure::new(name, class);
    let done = vec![
        ("on a submit", Met::Submit, Happened::Refused(failure.clone())),
        ("on a poll", Met::Poll, Happened::Failed(failure)),
    ];
    Page {
        word: name.to_owned(),
        kind: Kind::Code,
        class: Some(class),
        meaning: "A code that your configuration names.".to_owned(),
        done: told(rules, done),
        advice: "See your upstream's documentation of this code.".to_owned(),
        codes: Vec::new(),
    }
}

fn of_word(word: &Word) -> Page {
    Page {
        word: word.word.to_owned(),
        kind: Kind::Code,
        class: None,
        meaning: word.meaning.to_owned(),
        done: vec![("always", word.done.to_owned())],
        advice: word.advice.to_owned(),
        codes: Vec::new(),
    }
}

fn of_class(rules: &Rules<'_>, class: Class, pages: &[Page]) -> Page {
    let failure = Failure::new("EXAMPLE", class);
    let done = vec![
        ("on a submit", Met::Submit, Happened::Refused(failure.clone())),
        ("on a poll", Met::Poll, Happened::Failed(failure)),
    ];
    let codes = pages.iter().filter(|page| page.class == Some(class));
    Page {
        word: class.label().to_owned(),
        kind: Kind::Class,
        class: Some(class),
        meaning: class.about().to_owned(),
        done: told(rules, done),
        advice: words::of_class(class).to_owned(),
        codes: codes.map(|page| page.word.clone()).collect(),
    }
}

fn of_reason(rules: &Rules<'_>, reason: DeadReason, pages: &[Page]) -> Page {
    let end = format!("Dead at once: {reason}.");
    let later = format!("then dead: {reason}.");
    let ends_so = |page: &&Page| {
        page.done.iter().any(|(_, what)| what.contains(&end) || what.contains(&later))
    };
    let codes = pages.iter().filter(|page| page.kind == Kind::Code).filter(ends_so);
    // What the codes that end so leave to be asked for again, their deaths do.
    let resumes = codes.clone().any(|page| {
        page.done.iter().any(|(when, what)| *when == A_REDRIVE && what.starts_with(RESUMES))
    });
    let redrive = rules.redrive_of(reason).map(|redrive| {
        let at_once = if resumes { Eligibility::Resume } else { redrive.at_once };
        (A_REDRIVE, redriven(Redrive { at_once, ..redrive }))
    });
    Page {
        word: reason.label().to_owned(),
        kind: Kind::Reason,
        class: None,
        meaning: reason.about().to_owned(),
        done: redrive.into_iter().collect(),
        advice: words::of_reason(reason, rules.policy.on_doubt).to_owned(),
        codes: codes.map(|page| page.word.clone()).collect(),
    }
}
