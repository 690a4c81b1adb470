//! How fast something went.

use deadletter_store::clock::Stopwatch;

/// Pieces of work per second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Rate(pub(crate) f64);

impl Rate {
    /// How many times as fast as another.
    pub(crate) fn over(self, other: Self) -> f64 {
        self.0 / other.0
    }
}

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct Timing {
    watch: Stopwatch,
    pieces: usize,
}

impl Timing {
    pub(crate) fn start(pieces: usize) -> Self {
        Self { watch: Stopwatch::start(), pieces }
    }

    pub(crate) fn end(self) -> Rate {
        let elapsed_s = self.watch.elapsed_us().max(1) as f64 / 1e6;
        Rate(self.pieces as f64 / elapsed_s)
    }
}

/// How long one thing took, in milliseconds.
pub(crate) fn elapsed_ms(watch: &Stopwatch) -> f64 {
    watch.elapsed_us() as f64 / 1e3
}
