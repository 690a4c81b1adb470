//! How long solves take, by account and method: the histograms that poll plans are made from.

use crate::{
    app::App,
    fault::{Fault, Result},
    render,
    shelf::{Shelf, fault},
};
use deadletter::core::histogram::Histogram;
use serde_json::json;

/// Where workers share what they have seen: `times/<account>/<method>`.
const PREFIX: &str = "times/";
/// Histograms that are shown: accounts have a handful of methods.
const MOST: u32 = 1_000;
/// The shares that are told, by name.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];
/// Rows of a picture; above that, each covers twice as much.
const ROWS: usize = 12;

/// Shows them, the largest first.
pub(super) async fn show(app: &App, shelf: &Shelf) -> Result<()> {
    let documents = shelf.store.documents(PREFIX, MOST).await.map_err(fault)?;
    let mut found = Vec::new();
    for document in documents {
        let name = document.key.strip_prefix(PREFIX).and_then(|name| name.rsplit_once('/'));
        let Some((account, method)) = name else { continue };
        let times: Histogram = serde_json::from_str(&document.body).map_err(|error| {
            Fault::failed(format!("{} cannot be read", document.key)).because(error)
        })?;
        found.push((account.to_owned(), method.to_owned(), times));
    }
    found.sort_by_key(|(_, _, times)| std::cmp::Reverse(times.count()));
    for (account, method, times) in found.into_iter().filter(|(_, _, times)| times.count() > 0) {
        if app.out.is_table() {
            let title = format!("solve times of {method} ({account}): {}", told(&times));
            let rows = picture(&times);
            let picture = render::bars(&title, &rows, app.out.width, app.out.glyphs);
            app.out.picture(&format!("\n{picture}"))?;
            continue;
        }
        let mut row = json!({
            "by": "times", "value": method, "account": account, "count": times.count(),
            "mean_ms": times.mean_ms().map(f64::round),
        });
        let buckets = times.buckets().map(|bucket| {
            json!({"from_ms": bucket.from_ms, "to_ms": bucket.to_ms, "samples": bucket.samples})
        });
        if let Some(fields) = row.as_object_mut() {
            for (name, share) in SHARES {
                let ms = times.quantile_ms(share).map(f64::round);
                fields.insert(format!("{name}_ms"), ms.into());
            }
            fields.insert("buckets".to_owned(), buckets.collect());
        }
        app.out.json(&row)?;
    }
    Ok(())
}

fn told(times: &Histogram) -> String {
    let shares = SHARES.iter().filter_map(|(name, share)| {
        let ms = times.quantile_ms(*share)?;
        Some(format!("{name} {}", render::duration(ms.round() as i64)))
    });
    let count = i64::try_from(times.count()).unwrap_or(i64::MAX);
    format!("{} solved, {}", render::count(count), shares.collect::<Vec<_>>().join(", "))
}

/// The times in ranges that grow by the same factor, from the first that has a solve to the last.
fn picture(times: &Histogram) -> Vec<(String, i64)> {
    for per_doubling in [4.0, 2.0, 1.0] {
        let rows = ranges(times, per_doubling);
        if rows.len() <= ROWS || per_doubling <= 1.0 {
            return rows;
        }
    }
    Vec::new()
}

fn ranges(times: &Histogram, per_doubling: f64) -> Vec<(String, i64)> {
    // By the end of a bucket: the ends of ranges are ends of buckets.
    let number = |to_ms: f64| (to_ms.max(1.0).log2() * per_doubling - 0.01).floor() as i32;
    let mut samples = std::collections::BTreeMap::<i32, f64>::new();
    for bucket in times.buckets() {
        *samples.entry(number(bucket.to_ms)).or_default() += bucket.samples;
    }
    samples.retain(|_, n| *n >= 0.5);
    let (Some(first), Some(last)) =
        (samples.keys().next().copied(), samples.keys().next_back().copied())
    else {
        return Vec::new();
    };
    let ms = |number: i32| (f64::from(number) / per_doubling).exp2().round() as i64;
    let row = |number: i32| {
        let (from, to) = (render::duration(ms(number)), render::duration(ms(number + 1)));
        let n = samples.get(&number).copied().unwrap_or_default();
        (format!("{from} to {to}"), n.round() as i64)
    };
    (first..=last).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_few_rows_and_every_solve() {
        let mut times = Histogram::default();
        for n in 0..900 {
            let at = 10_000 + n * 100;
            times.record(at - 5_000, at);
        }
        let rows = picture(&times);
        assert!((3..=ROWS).contains(&rows.len()), "{rows:?}");
        let sum: i64 = rows.iter().map(|(_, n)| n).sum();
        assert!((890..=910).contains(&sum), "{rows:?}");
        let told = told(&times);
        assert!(told.starts_with("900 solved, p50 5") && told.contains("p99 1 m 3"), "{told}");
        assert!(picture(&Histogram::default()).is_empty());
    }

    #[test]
    fn ranges_stand_at_the_times_that_they_hold() {
        let mut times = Histogram::default();
        times.record(4_096, 5_792);
        for per_doubling in [1.0, 2.0] {
            let rows = ranges(&times, per_doubling);
            assert_eq!(rows.len(), 1, "{rows:?}");
            assert!(rows[0].0.starts_with("4.0 s to ") && rows[0].1 == 1, "{rows:?}");
        }
    }
}
