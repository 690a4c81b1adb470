//! The faults that a scenario can script, and what each does to an honest answer.

use serde::Deserialize;

use crate::answer::{Answer, Form};
use crate::reply::{Manner, Reply};
use crate::rule::Phase;

/// One way of going wrong. In a scenario file: `fault = "html_502"`, or with values
/// `fault = { error = { code = "ERROR_BAD_PROXY" } }`. All times are virtual milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// A poll is answered `CAPCHA_NOT_READY`, whatever the job's state.
    NotReady,
    /// On submit: the job ends unsolvable when its time is over. On poll: this poll says so, and
    /// the job stays so.
    Unsolvable,
    /// `ERROR_NO_SLOT_AVAILABLE`.
    NoSlot,
    /// `ERROR_ZERO_BALANCE`.
    ZeroBalance,
    /// Any error code, in the form that the client asked for.
    Error {
        /// The code as sent, such as `ERROR_BAD_PROXY`.
        code: String,
    },
    /// Any error code as plain text, even with `json=1`.
    PlainError {
        /// The code as sent.
        code: String,
    },
    /// An HTML page with status 502.
    #[serde(rename = "html_502")]
    Html502,
    /// An HTML page with status 200, as a proxy in front of upstream sends it.
    #[serde(rename = "html_200")]
    Html200,
    /// Status 429 with `Retry-After`.
    #[serde(rename = "http_429")]
    Http429 {
        /// Whole seconds, as the header has it. The only real time among the faults.
        retry_after_s: u32,
    },
    /// The request is read and never answered.
    Hang,
    /// The connection is reset before anything is done: no job is created.
    ResetBefore,
    /// The job is created (the answer counted as given), then the connection is reset.
    ResetAfter,
    /// Full headers, half of the body, end of connection.
    CutBody,
    /// A body that is neither JSON nor in the text grammar.
    Garbage,
    /// Status 200 and no body.
    EmptyBody,
    /// On submit: the answer names an id that no job has. On poll: `ERROR_WRONG_CAPTCHA_ID`.
    WrongId,
    /// The body comes byte by byte.
    SlowDrip {
        /// Time between two bytes.
        gap_ms: u64,
    },
    /// The HTTP answer itself comes later.
    Delay {
        /// How much later.
        by_ms: u64,
    },
    /// The job takes at least this long to solve: a verdict later than the client's patience.
    Late {
        /// Solve time at least.
        after_ms: u64,
    },
    /// The id becomes unknown once its answer has been sent.
    ForgetAfterDelivery,
}

/// Where in the treatment of a request a fault takes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Instead of any work: no job is created, no answer counts as given.
    Door,
    /// On the job that was created.
    Job,
    /// On the answer, after the work was done.
    Answer,
}

impl Fault {
    /// The name that scenario files and the request log use.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Unsolvable => "unsolvable",
            Self::NoSlot => "no_slot",
            Self::ZeroBalance => "zero_balance",
            Self::Error { .. } => "error",
            Self::PlainError { .. } => "plain_error",
            Self::Html502 => "html_502",
            Self::Html200 => "html_200",
            Self::Http429 { .. } => "http_429",
            Self::Hang => "hang",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::CutBody => "cut_body",
            Self::Garbage => "garbage",
            Self::EmptyBody => "empty_body",
            Self::WrongId => "wrong_id",
            Self::SlowDrip { .. } => "slow_drip",
            Self::Delay { .. } => "delay",
            Self::Late { .. } => "late",
            Self::ForgetAfterDelivery => "forget_after_delivery",
        }
    }

    /// Whether this fault means anything there.
    pub(crate) fn fits(&self, phase: Phase) -> bool {
        match self {
            Self::NotReady => phase == Phase::Poll,
            Self::Late { .. } | Self::ForgetAfterDelivery => phase == Phase::Submit,
            Self::Unsolvable | Self::WrongId => matches!(phase, Phase::Submit | Phase::Poll),
            _ => true,
        }
    }

    /// Where a rule without `on` looks for it.
    pub(crate) fn is_usual_in(&self, phase: Phase) -> bool {
        match self {
            Self::Unsolvable | Self::NoSlot | Self::ZeroBalance => phase == Phase::Submit,
            _ => self.fits(phase) && matches!(phase, Phase::Submit | Phase::Poll),
        }
    }

    pub(crate) fn stage(&self, phase: Phase, creates_job: Option<bool>) -> Stage {
        let usual = match self {
            Self::Late { .. } | Self::ForgetAfterDelivery => return Stage::Job,
            Self::Unsolvable if phase == Phase::Submit => return Stage::Job,
            Self::ResetAfter
            | Self::CutBody
            | Self::Garbage
            | Self::EmptyBody
            | Self::WrongId
            | Self::SlowDrip { .. }
            | Self::Delay { .. } => Stage::Answer,
            _ => Stage::Door,
        };
        match creates_job {
            Some(true) => Stage::Answer,
            Some(false) => Stage::Door,
            None => usual,
        }
    }

    /// The reply that this fault makes of the honest answer.
    pub(crate) fn spoil(&self, honest: &Answer, form: Form) -> Reply {
        let error = |code: &str| Reply::protocol(&Answer::error(code), form);
        let whole = || Reply::protocol(honest, form);
        match self {
            Self::NotReady => Reply::protocol(&Answer::Pending, form),
            Self::Unsolvable => error("ERROR_CAPTCHA_UNSOLVABLE"),
            Self::NoSlot => error("ERROR_NO_SLOT_AVAILABLE"),
            Self::ZeroBalance => error("ERROR_ZERO_BALANCE"),
            Self::Error { code } => error(code),
            Self::PlainError { code } => Reply::protocol(&Answer::error(code), Form::Text),
            Self::Html502 => Reply::html(502, "Bad Gateway"),
            Self::Html200 => Reply::html(200, "Web server is down"),
            Self::Http429 { retry_after_s } => Reply::too_many(*retry_after_s),
            Self::Hang => Reply::wordless(Manner::Hang),
            Self::ResetBefore | Self::ResetAfter => Reply::wordless(Manner::Reset),
            Self::CutBody => whole().in_manner(Manner::Cut),
            Self::Garbage => Reply::garbage(),
            Self::EmptyBody => Reply::empty(),
            Self::WrongId => Reply::protocol(&wrong_id(honest), form),
            Self::SlowDrip { gap_ms } => whole().in_manner(Manner::Drip { gap_ms: *gap_ms }),
            Self::Delay { by_ms } => whole().in_manner(Manner::Delay { by_ms: *by_ms }),
            Self::Late { .. } | Self::ForgetAfterDelivery => whole(),
        }
    }
}

/// Added to an id to make one that is never given out: no simulator creates so many jobs.
const WRONG_ID_OFFSET: u64 = 500_000_000;

fn wrong_id(honest: &Answer) -> Answer {
    match honest {
        Answer::Submitted { id, as_number } => {
            let id = id.parse::<u64>().unwrap_or_default() + WRONG_ID_OFFSET;
            Answer::Submitted { id: id.to_string(), as_number: *as_number }
        }
        _ => Answer::error("ERROR_WRONG_CAPTCHA_ID"),
    }
}
