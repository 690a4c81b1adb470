//! What an upstream says, whatever protocol it speaks: between a provider's grammar and its verdict.

use secrecy::SecretString;

/// What a body says, before anyone asks what it means.
#[derive(Debug)]
pub(super) enum Word {
    /// Upstream's yes, with what it says.
    Yes(Said),
    /// A readable "not ready".
    NotReady,
    /// A code, and what upstream adds to it (not cleaned yet).
    Error { code: String, text: String },
    /// Nothing but white space.
    Empty,
    /// Why nobody can read it.
    Unreadable(&'static str),
}

/// The content of a yes: an id or an answer.
#[derive(Debug)]
pub(super) struct Said {
    /// The dialect of the body, as it is kept with the answer.
    pub(super) dialect: &'static str,
    pub(super) shape: Shape,
    /// As it came; structured content and numbers as their JSON text.
    pub(super) text: SecretString,
    pub(super) user_agent: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    /// An object or an array.
    Structure,
}
