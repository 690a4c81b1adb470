//! Whole numbers of options: one that cannot be meant is refused with what may be said.

/// A number from 0 on.
pub(crate) fn from_0(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it is a whole number, 0 or more, such as 20".to_owned())
}

/// A number from 1 on.
pub(crate) fn from_1(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it is a whole number, 1 or more, such as 20".to_owned())
}
