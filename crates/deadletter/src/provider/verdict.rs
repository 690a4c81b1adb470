//! Turns what was received into a verdict: HTTP status, the body's word, and the code's meaning.
//!
//! A readable body wins over the HTTP status, since upstream and what stands before it use both.
//! What cannot be read is never taken for a verdict: on a submit its outcome is in doubt.

use super::codes::{Codes, OnPoll};
use super::word::{Said, Shape, Word};
use crate::provider::clean::Cleaner;
use crate::provider::transport::{LineError, Received};
use crate::provider::{CouldNotAsk, JobFailed, PollError, Polled, Reply, Sent, SubmitError};
use deadletter_core::{Cause, Class, Failure, UpstreamId};
use secrecy::{ExposeSecret, SecretString};

/// Of an unreadable body so many characters are shown: enough to tell an outage page from a
/// login page.
const GLIMPSE: usize = 80;
/// What a report is answered in text.
const RECEIPT: &[u8] = b"OK_REPORT_RECORDED";

/// Reads answers for one account.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) codes: Codes,
    pub(super) cleaner: Cleaner,
    /// The grammar of answers to submits, and to questions about the account.
    pub(super) on_submit: Grammar,
    /// The grammar of answers to polls.
    pub(super) on_poll: Grammar,
    /// The grammar of answers to reports.
    pub(super) on_report: Grammar,
}

/// Reads a body; the codes are those that are known.
pub(super) type Grammar = fn(&[u8], &Codes) -> Word;

/// An error that upstream has said, or one that its HTTP status says.
enum No {
    Code {
        code: String,
        text: String,
    },
    /// The words of [`Reader::unreadable`].
    Nothing(&'static str),
}

impl Reader {
    /// The verdict on a submit.
    pub(super) fn submit(&self, received: &Received) -> Result<UpstreamId, SubmitError> {
        let no = match self.word(self.on_submit, received) {
            Word::Yes(said) => match upstream_id(&said) {
                Some(id) => return Ok(id),
                None => No::Nothing("a yes without a usable id"),
            },
            Word::Error { code, text } => No::Code { code, text },
            Word::NotReady => No::Nothing("\"not ready\", as the answer to a submit"),
            Word::Empty => No::Nothing("an empty body"),
            Word::Unreadable(why) => No::Nothing(why),
        };
        Err(self.refused(no, received))
    }

    /// The verdict on a poll.
    pub(super) fn poll(&self, received: &Received) -> Result<Polled, PollError> {
        let no = match self.word(self.on_poll, received) {
            Word::Yes(said) => return Ok(Polled::Answer(reply(said, &received.body))),
            Word::NotReady => return Ok(Polled::NotReady),
            Word::Empty if received.status == 200 => return Ok(Polled::NotReady),
            Word::Error { code, text } => No::Code { code, text },
            Word::Empty => No::Nothing("an empty body"),
            Word::Unreadable(why) => No::Nothing(why),
        };
        Err(match self.or_status(no, received.status) {
            No::Code { code, text } => match self.codes.meaning(&code).on_poll {
                OnPoll::NotReady => return Ok(Polled::NotReady),
                OnPoll::Is(class) => JobFailed(self.failure(&code, class, &text, received)).into(),
            },
            No::Nothing(why) => self.unreadable(why, received).into(),
        })
    }

    /// The verdict on a report: any readable yes is a receipt.
    pub(super) fn report(&self, received: &Received) -> Result<(), PollError> {
        // In text it is a bare word, which is neither a yes nor an error elsewhere.
        if received.body.trim_ascii() == RECEIPT {
            return Ok(());
        }
        let no = match self.word(self.on_report, received) {
            Word::Yes(_) => return Ok(()),
            Word::Error { code, text } => No::Code { code, text },
            Word::NotReady => No::Nothing("\"not ready\", as the answer to a report"),
            Word::Empty => No::Nothing("an empty body"),
            Word::Unreadable(why) => No::Nothing(why),
        };
        Err(self.refused(no, received))
    }

    /// Why an answer to a question about the account holds no state.
    pub(super) fn no_account(&self, received: &Received) -> PollError {
        let no = match self.word(self.on_submit, received) {
            Word::Error { code, text } => No::Code { code, text },
            _ => No::Nothing("no account state"),
        };
        self.refused(no, received)
    }

    /// A no to anything but a poll: of an account and of a report, a code says what it says of a submit.
    fn refused<E: From<JobFailed> + From<CouldNotAsk>>(&self, no: No, received: &Received) -> E {
        match self.or_status(no, received.status) {
            No::Code { code, text } => {
                let class = self.codes.meaning(&code).on_submit;
                JobFailed(self.failure(&code, class, &text, received)).into()
            }
            No::Nothing(why) => self.unreadable(why, received).into(),
        }
    }

    /// A line that failed, in the words that are stored.
    pub(super) fn line(&self, error: &LineError) -> CouldNotAsk {
        let failure = Failure::new(error.cause, Class::Transient)
            .with_detail(self.cleaner.clean(&error.what));
        CouldNotAsk { sent: error.sent, failure }
    }

    fn word(&self, grammar: Grammar, received: &Received) -> Word {
        // A redirect is never followed, and its body is a page for people.
        if (300..400).contains(&received.status) {
            return Word::Unreadable("a redirect");
        }
        grammar(&received.body, &self.codes)
    }

    /// Two statuses are verdicts in themselves where the body is none.
    fn or_status(&self, no: No, status: u16) -> No {
        match (no, status) {
            (No::Nothing(_), 413 | 429) => {
                No::Code { code: format!("HTTP_{status}"), text: String::new() }
            }
            (no, _) => no,
        }
    }

    fn failure(&self, code: &str, class: Class, text: &str, received: &Received) -> Failure {
        let own = self.codes.meaning(code).retry_after_ms;
        let code = if self.cleaner.finds_in(code) { "UNKNOWN" } else { code };
        Failure::new(code, class)
            .with_detail(self.cleaner.clean(text))
            .with_retry_after_ms(received.retry_after_ms.or(own))
    }

    fn unreadable(&self, why: &str, received: &Received) -> CouldNotAsk {
        let kind = received.content_type.as_deref().unwrap_or("no content type");
        let (status, size) = (received.status, received.body.len());
        let text = String::from_utf8_lossy(&received.body);
        // Cleaned before it is cut, so that no cut leaves half a key.
        let glimpse: String = words_of(&self.cleaner.clean(&text)).chars().take(GLIMPSE).collect();
        let detail = format!("{why}: HTTP {status}, {kind}, {size} bytes: {glimpse}");
        let own = self.codes.meaning(Cause::UNREADABLE).retry_after_ms;
        let failure = Failure::new(Cause::UNREADABLE, Class::Transient)
            .with_detail(self.cleaner.clean(&detail))
            .with_retry_after_ms(received.retry_after_ms.or(own));
        CouldNotAsk { sent: Sent::Maybe, failure }
    }
}

/// Of a page for people its title, or else its text: what is between its tags is what tells pages apart.
fn words_of(cleaned: &str) -> String {
    if !cleaned.trim_start().starts_with('<') {
        return cleaned.to_owned();
    }
    let lower = cleaned.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| cleaned.get(at..)).and_then(|rest| {
        let title = rest.split_once('>')?.1.split('<').next()?.trim();
        (!title.is_empty()).then(|| format!("a page titled {title:?}"))
    });
    title.unwrap_or_else(|| {
        let texts = cleaned.split('<').filter_map(|tag| Some(tag.split_once('>')?.1.trim()));
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    })
}

/// The id in a yes: digits, or a word of letters, digits, `-` and `_` (some relatives use UUIDs).
fn upstream_id(said: &Said) -> Option<UpstreamId> {
    let text = said.text.expose_secret().trim();
    let is_id = match said.shape {
        Shape::Number => text.bytes().all(|b| b.is_ascii_digit()),
        Shape::Text => {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !text.starts_with("ERROR")
        }
        Shape::Structure => false,
    };
    is_id.then(|| UpstreamId::new(text).ok()).flatten()
}

fn reply(said: Said, body: &[u8]) -> Reply {
    Reply {
        dialect: said.dialect,
        // It was read as UTF-8 already: nothing is lost.
        raw: SecretString::from(String::from_utf8_lossy(body).into_owned()),
        text: said.text,
        user_agent: said.user_agent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_page_its_title_is_told_or_else_its_text() {
        for (body, told) in [
            ("no slot", "no slot"),
            ("<html><head><TITLE lang=en>502 Bad</TITLE></head><p>x", "a page titled \"502 Bad\""),
            ("<html><title></title><h1>Away</h1><p>for a while", "Away for a while"),
            ("<html>", ""),
            ("<title", ""),
            ("<a ö<title>ä", "a page titled \"ä\""),
        ] {
            assert_eq!(words_of(body), told, "{body}");
        }
    }
}
