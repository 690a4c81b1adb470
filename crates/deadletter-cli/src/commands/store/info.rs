//! `deadletter store info`: the store in numbers.

use super::looking::look;
use crate::{
    app::App,
    exit::Exit,
    fault::Result,
    render::{self, ago, count, instant},
    shelf,
};
use deadletter::{
    core::UnixMs,
    store::{
        Worker,
        sqlite::inspect::{Info, Tolerance},
    },
};
use serde_json::{Value, json};

pub(super) async fn run(app: &App) -> Result<Exit> {
    let clock = shelf::clock(&app.settings()?);
    let now = clock.now();
    let info =
        look(app, Tolerance::None, move |inspection, _| inspection.info(clock.as_ref())).await?;
    let Some(info) = info else { return Ok(Exit::Interrupted) };
    if !app.out.is_table() {
        app.out.json(&document(&info))?;
        return Ok(Exit::Good);
    }
    let mut table = render::Table::new(&["what", "is"]);
    for (what, is) in rows(&info, now) {
        table.row([what, is]);
    }
    app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    Ok(Exit::Good)
}

fn document(info: &Info) -> Value {
    let worker = |worker: &Worker| {
        json!({
            "id": worker.id, "label": worker.label,
            "started_at": instant(worker.started_at), "beat_at": instant(worker.beat_at),
        })
    };
    json!({
        "path": info.path, "file_bytes": info.file_bytes, "log_bytes": info.log_bytes,
        "free_bytes": info.free_bytes, "schema": info.schema, "schema_known": info.schema_known,
        "durability": info.durability, "sqlite": info.sqlite, "tasks": info.tasks,
        "oldest_at": info.oldest_at.map(instant), "newest_at": info.newest_at.map(instant),
        "workers": info.workers.iter().map(worker).collect::<Vec<_>>(),
    })
}

fn rows(info: &Info, now: UnixMs) -> Vec<(String, String)> {
    let row = |what: &str, is: String| (what.to_owned(), is);
    let at = |at: Option<UnixMs>| {
        at.map_or("-".to_owned(), |at| format!("{} ({})", instant(at), ago(at, now)))
    };
    let tasks = &info.tasks;
    let mut rows = vec![
        row("path", info.path.display().to_string()),
        row("file", format!("{}, {} of it free", bytes(info.file_bytes), bytes(info.free_bytes))),
        row("log", bytes(info.log_bytes)),
        row("schema", format!("{} (this program knows {})", info.schema, info.schema_known)),
        row("durability", format!("{}: survives crash and power loss", info.durability)),
        row("SQLite", info.sqlite.clone()),
        row("accepted", format!("{}, {} purged", count(tasks.accepted), count(tasks.purged))),
    ];
    let states = [
        ("queued", tasks.queued),
        ("submitting", tasks.submitting),
        ("polling", tasks.polling),
        ("solved", tasks.solved),
        ("dead", tasks.dead),
        ("buried", tasks.buried),
        ("cancelled", tasks.cancelled),
    ];
    rows.extend(states.map(|(state, n)| row(state, count(n))));
    rows.push(row("oldest task", at(info.oldest_at)));
    rows.push(row("newest task", at(info.newest_at)));
    rows.push(row("workers alive", info.workers.len().to_string()));
    rows.extend(info.workers.iter().map(|worker| worker_row(worker, now)));
    rows
}

fn worker_row(worker: &Worker, now: UnixMs) -> (String, String) {
    let (since, beat) = (ago(worker.started_at, now), ago(worker.beat_at, now));
    (format!("  {}", worker.id), format!("{}, began {since}, last beat {beat}", worker.label))
}

/// A length as people say it.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = "bytes";
    for larger in UNITS {
        if value < 1_024.0 {
            break;
        }
        (value, unit) = (value / 1_024.0, larger);
    }
    if unit == "bytes" { format!("{n} bytes") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_in_its_unit() {
        let said = [0, 1_023, 1_536, 5 << 20, 3 << 40].map(bytes);
        assert_eq!(said, ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 TiB"]);
    }
}
