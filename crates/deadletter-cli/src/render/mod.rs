//! Text for people: pure functions from values to text.

mod aligned;
mod chart;
mod heat;
mod table;
mod text;
mod timeline;

pub(crate) use aligned::{aligned, definitions};
pub(crate) use chart::{Spark, bars, columns, sparks};
pub(crate) use heat::{Heat, heat};
pub(crate) use table::Table;
pub(crate) use text::{
    Glyphs, ago, count, counted, cut, duration, duration_ms, instant, plain, second,
};
pub(crate) use timeline::{Record, Timeline};
