//! (being written)

/// Sixteen hex digits.
#[must_use]
pub fn fingerprint(cause: &str, method: &str, detail: &str) -> String {
    format!("{cause}{method}{detail}")
}
