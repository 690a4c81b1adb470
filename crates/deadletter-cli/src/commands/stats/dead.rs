//! Dead and buried tasks by one dimension, as the standing counts have them.

use super::{By, ROWS};
use crate::{
    app::App,
    fault::Result,
    render,
    shelf::{Shelf, fault},
};
use deadletter::core::StateKind;
use serde_json::json;
use std::collections::BTreeMap;

/// Bars of a picture.
const BARS: usize = 10;

/// Shows them, most first; answers the value of most.
pub(super) async fn show(
    app: &App,
    shelf: &Shelf,
    by: By,
    is_asked_for: bool,
) -> Result<Option<String>> {
    let places = [StateKind::Dead, StateKind::Buried];
    let census = shelf.store.census(&places, by.dim(), ROWS).await.map_err(fault)?;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (standing, n) in census {
        let value = match by {
            By::Cause => standing.cause.map_or("none".to_owned(), |cause| cause.to_string()),
            By::Class => standing.class.map_or("none".to_owned(), |class| class.to_string()),
            _ => standing.value,
        };
        *counts.entry(value).or_default() += n;
    }
    let mut rows: Vec<_> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let most = rows.first().map(|(value, _)| value.clone());
    if !app.out.is_table() {
        for (value, count) in rows {
            app.out.json(&json!({"by": by.label(), "value": value, "count": count}))?;
        }
        return Ok(most);
    }
    // A picture of one bar says nothing; of the causes it says that there is one.
    let is_telling = rows.len() > 1 || (by == By::Cause && !rows.is_empty());
    if !is_telling && !is_asked_for {
        return Ok(most);
    }
    let rest: i64 = rows.iter().skip(BARS).map(|(_, n)| n).sum();
    rows.truncate(BARS);
    if rest > 0 {
        rows.push(("all others".to_owned(), rest));
    }
    let title = format!("dead by {}", by.label());
    let picture = render::bars(&title, &rows, app.out.width, app.out.glyphs);
    app.out.picture(&format!("\n{picture}"))?;
    Ok(most)
}
