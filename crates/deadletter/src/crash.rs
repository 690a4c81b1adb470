//! Named points at which a test can make the process die, as `kill -9` would.
//!
//! Only builds with debug assertions have them; a release binary cannot be told to die.

/// Where to die, and at which passage.
#[derive(Debug, Default)]
pub struct CrashPoint {
    #[cfg(debug_assertions)]
    armed: Option<(String, std::sync::atomic::AtomicI64)>,
}

/// The points, in the order in which an attempt passes them; then those of a redrive, and of a turn
/// that is taken and names a redrive which then begins.
pub const CRASH_POINTS: &[&str] = &[
    "after_intent",
    "after_wire",
    "after_id",
    "after_answer",
    "in_redrive",
    "after_turn",
    "after_naming",
    "after_beginning",
];

impl CrashPoint {
    /// A point from `NAME:N`: die at the N-th passage of NAME.
    #[must_use]
    #[cfg_attr(not(debug_assertions), allow(unused_variables))]
    pub fn from_text(text: Option<&str>) -> Self {
        #[cfg(debug_assertions)]
        {
            let armed = text.and_then(|text| {
                let (name, n) = text.split_once(':')?;
                Some((name.to_owned(), n.parse::<i64>().ok()?.into()))
            });
            Self { armed }
        }
        #[cfg(not(debug_assertions))]
        Self {}
    }

    /// Dies here if told so.
    #[cfg_attr(not(debug_assertions), allow(unused_variables))]
    pub(crate) fn pass(&self, name: &str) {
        #[cfg(debug_assertions)]
        if let Some((armed, left)) = &self.armed
            && armed == name
            && left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1
        {
            std::process::abort();
        }
    }
}
