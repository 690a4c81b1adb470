//! A finished reply: status, body, and the manner in which it goes over the wire.

use crate::answer::{Answer, Form};

/// How a reply is brought to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Whole,
    /// Half of the body, then the end of the connection.
    Cut,
    /// One byte each `gap_ms` virtual milliseconds.
    Drip {
        gap_ms: u64,
    },
    /// Whole, after `by_ms` virtual milliseconds.
    Delay {
        by_ms: u64,
    },
    Reset,
    Hang,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) retry_after_s: Option<u32>,
    pub(crate) body: String,
    pub(crate) manner: Manner,
    /// One word for the request log.
    pub(crate) label: String,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        let label = format!("HTTP_{status}");
        let manner = Manner::Whole;
        Self { status, content_type, retry_after_s: None, body: body.into(), manner, label }
    }

    /// A protocol answer: always status 200.
    pub(crate) fn protocol(answer: &Answer, form: Form) -> Self {
        let content_type = if form == Form::Text { TEXT } else { JSON };
        Self { label: answer.label(), ..Self::new(200, content_type, answer.render(form)) }
    }

    /// An error page, as a web server in front of upstream writes it.
    pub(crate) fn html(status: u16, title: &str) -> Self {
        let page = format!(
            "<!DOCTYPE html>\n<html><head><title>{title}</title></head>\
             <body><center><h1>{title}</h1></center><hr><center>simulator</center></body></html>\n"
        );
        Self { label: format!("HTML_{status}"), ..Self::new(status, HTML, page) }
    }

    pub(crate) fn too_many(retry_after_s: u32) -> Self {
        let page = Self::html(429, "Too Many Requests");
        Self { retry_after_s: Some(retry_after_s), label: "HTTP_429".to_owned(), ..page }
    }

    pub(crate) fn garbage() -> Self {
        let body = "\u{1}\u{2}{\"stat\u{fffd}us\":1,\"reque";
        Self { label: "GARBAGE".to_owned(), ..Self::new(200, JSON, body) }
    }

    pub(crate) fn empty() -> Self {
        Self { label: "EMPTY".to_owned(), ..Self::new(200, TEXT, "") }
    }

    /// No reply at all.
    pub(crate) fn wordless(manner: Manner) -> Self {
        let label = if manner == Manner::Hang { "HANG" } else { "RESET" };
        Self { label: label.to_owned(), manner, status: 0, ..Self::new(0, TEXT, "") }
    }

    /// A plain refusal by the simulator itself, not by the protocol.
    pub(crate) fn plain(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, TEXT, text)
    }

    /// A JSON document of the admin door.
    pub(crate) fn document(body: String) -> Self {
        Self::new(200, JSON, body)
    }

    pub(crate) fn in_manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}
