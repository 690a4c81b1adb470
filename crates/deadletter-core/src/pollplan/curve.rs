//! A histogram as curves over time: the share of solves still running, and the checking effort.

use crate::histogram::{Histogram, rate};

/// Both curves at the edge of a bucket; straight lines join the points.
#[derive(Clone, Copy, Debug)]
struct Point {
    at_ms: f64,
    /// The share of solves that take longer, from 1 down to 0.
    running: f64,
    /// The integral of the square root of the hazard rate up to here.
    effort: f64,
}

/// What a plan costs on average, for one solve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Polls until the answer is seen, that one included.
    pub polls: f64,
    /// From the answer to the poll that sees it, in milliseconds.
    pub delay_ms: f64,
}

/// The curves of one histogram.
#[derive(Debug)]
pub(super) struct Curve {
    points: Vec<Point>,
    mean_ms: f64,
}

impl Curve {
    /// Nothing when the histogram is empty.
    pub(super) fn of(histogram: &Histogram) -> Option<Self> {
        let mean_ms = histogram.mean_ms()?;
        let all: f64 = histogram.buckets().map(|bucket| bucket.samples).sum();
        let mut left = all;
        let mut last = Point { at_ms: 0.0, running: 1.0, effort: 0.0 };
        let mut points = vec![last];
        for bucket in histogram.buckets() {
            if bucket.from_ms > last.at_ms {
                last.at_ms = bucket.from_ms;
                points.push(last);
            }
            let width_ms = bucket.to_ms - bucket.from_ms;
            last.effort += rate(bucket.samples, left, width_ms).sqrt() * width_ms;
            left -= bucket.samples;
            last.at_ms = bucket.to_ms;
            last.running = (left / all).max(0.0);
            points.push(last);
        }
        if let Some(end) = points.last_mut() {
            // What the subtractions above leave over is no solve.
            end.running = 0.0;
        }
        Some(Self { points, mean_ms })
    }

    /// The whole effort.
    pub(super) fn effort(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.effort)
    }

    /// The effort up to `at_ms`.
    pub(super) fn effort_at(&self, at_ms: f64) -> f64 {
        let (a, b) = self.around(|point| point.at_ms < at_ms);
        along(at_ms, (a.at_ms, a.effort), (b.at_ms, b.effort))
    }

    /// When that effort is reached; the end of the curve for more than the whole.
    pub(super) fn at_effort(&self, effort: f64) -> f64 {
        let (a, b) = self.around(|point| point.effort < effort);
        along(effort, (a.effort, a.at_ms), (b.effort, b.at_ms))
    }

    /// The share of solves that take longer than `at_ms`.
    pub(super) fn running_at(&self, at_ms: f64) -> f64 {
        let (a, b) = self.around(|point| point.at_ms < at_ms);
        along(at_ms, (a.at_ms, a.running), (b.at_ms, b.running))
    }

    /// The cost of polling at `checks`, and then every `tail_ms` for ever. Exact for the curve:
    /// poll k+1 is needed by the solves that still run at poll k, and delays them by their gap.
    pub(super) fn cost(&self, checks: &[i64], tail_ms: i64) -> Cost {
        let (mut polls, mut seen_ms) = (1.0, 0.0);
        let mut last_ms = None;
        for check in checks {
            let at_ms = *check as f64;
            if let Some(last_ms) = last_ms {
                let running = self.running_at(last_ms);
                polls += running;
                seen_ms += running * (at_ms - last_ms);
            } else {
                seen_ms = at_ms;
            }
            last_ms = Some(at_ms);
        }
        let last_ms = last_ms.unwrap_or(0.0);
        let tail_ms = tail_ms.max(1) as f64;
        let running = self.running_at(last_ms) + self.sum_running(last_ms, tail_ms);
        Cost { polls: polls + running, delay_ms: seen_ms + running * tail_ms - self.mean_ms }
    }

    /// The sum of `running_at` over `after_ms + gap_ms`, `after_ms + 2 gap_ms`, ... to the end.
    /// Between two points the terms form an arithmetic series, so no term is visited.
    fn sum_running(&self, after_ms: f64, gap_ms: f64) -> f64 {
        let mut sum = 0.0;
        let mut next_ms = after_ms + gap_ms;
        for (a, b) in self.points.iter().zip(self.points.iter().skip(1)) {
            if next_ms >= b.at_ms {
                continue;
            }
            let steps = ((b.at_ms - next_ms) / gap_ms).ceil().max(1.0);
            let final_ms = next_ms + (steps - 1.0) * gap_ms;
            let value = |at_ms| along(at_ms, (a.at_ms, a.running), (b.at_ms, b.running));
            sum += steps * f64::midpoint(value(next_ms), value(final_ms));
            next_ms = final_ms + gap_ms;
        }
        sum
    }

    /// The neighbouring points between which `before` turns false.
    fn around(&self, before: impl Fn(&Point) -> bool) -> (Point, Point) {
        let place = self.points.partition_point(before);
        let at = |index: usize| {
            let last = self.points.len().saturating_sub(1);
            let end = Point { at_ms: 0.0, running: 0.0, effort: 0.0 };
            self.points.get(index.min(last)).copied().unwrap_or(end)
        };
        (at(place.saturating_sub(1)), at(place))
    }
}

/// The straight line through two points, at `x`; level outside of them.
fn along(x: f64, (x0, y0): (f64, f64), (x1, y1): (f64, f64)) -> f64 {
    if x1 > x0 { y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0) } else { y1 }
}
