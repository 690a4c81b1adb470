//! The admin door: what a test or a demonstration may ask and change over HTTP.
//!
//! | Request | Effect |
//! |---|---|
//! | `GET /admin/stats` | totals as JSON |
//! | `GET /admin/log?tail=N` | the last N requests as lines of JSON |
//! | `POST /admin/outage?mode=M&for_ms=N` | `reset`, `html_502`, `hang` (`for_ms` optional), `refuse` (`for_ms` required, since a closed port has no door), `off` |
//! | `POST /admin/threads?n=N` | threads of each key |
//! | `POST /admin/speed?factor=F` | pace of virtual time |
//! | `POST /admin/advance?ms=N` | jump of virtual time |
//! | `POST /admin/keys?add=K&remove=K` | valid keys; lifts bans |

use serde_json::json;

use crate::outage::OutageMode;
use crate::reply::Reply;
use crate::server::Shared;
use crate::world::Ask;

/// Log lines that one question gets at most.
const LONGEST_TAIL: usize = 10_000;
/// Log lines without `tail`: a screenful.
const USUAL_TAIL: usize = 50;

pub(crate) fn reply(shared: &Shared, ask: &Ask) -> Reply {
    let change = match (ask.verb.as_str(), ask.path.as_str()) {
        ("GET", "/admin/stats") => return stats(shared),
        ("GET", "/admin/log") => return log(shared, ask),
        ("POST", "/admin/outage") => outage(shared, ask),
        ("POST", "/admin/threads") => number(ask, "n").map(|n| shared.set_threads(n)),
        ("POST", "/admin/speed") => number(ask, "factor").and_then(|f| shared.set_speed(f)),
        ("POST", "/admin/advance") => number(ask, "ms").map(|ms| shared.clock.advance_ms(ms)),
        ("POST", "/admin/keys") => keys(shared, ask),
        _ => return Reply::plain(404, "no such admin request"),
    };
    match change {
        Ok(()) => Reply::document(json!({ "ok": true }).to_string()),
        Err(what) => Reply::plain(400, what),
    }
}

impl Shared {
    pub(crate) fn set_threads(&self, threads: usize) {
        self.world().scenario.threads = threads;
    }

    pub(crate) fn set_speed(&self, factor: f64) -> Result<(), String> {
        if !factor.is_finite() || factor < 0.0 {
            return Err(format!("factor is {factor}"));
        }
        self.clock.set_speed(factor);
        Ok(())
    }

    pub(crate) fn begin_outage(&self, mode: OutageMode, for_ms: Option<u64>) {
        let now_ms = self.clock.now_ms();
        let until_ms = for_ms.map(|ms| now_ms.saturating_add_unsigned(ms));
        self.world().outages.begin(mode, until_ms);
        Self::bump(&self.replan);
    }

    pub(crate) fn end_outage(&self) {
        let now_ms = self.clock.now_ms();
        self.world().outages.end(now_ms);
        Self::bump(&self.replan);
    }
}

fn stats(shared: &Shared) -> Reply {
    let stats = shared.world().stats();
    match serde_json::to_string(&stats) {
        Ok(text) => Reply::document(text),
        Err(error) => Reply::plain(500, error.to_string()),
    }
}

fn log(shared: &Shared, ask: &Ask) -> Reply {
    let tail = number(ask, "tail").unwrap_or(USUAL_TAIL).min(LONGEST_TAIL);
    Reply::plain(200, shared.world().log.tail(tail))
}

fn number<N: std::str::FromStr>(ask: &Ask, name: &str) -> Result<N, String> {
    let text = ask.params.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
    text.parse().map_err(|_| format!("`{name}` is no number in range"))
}

fn outage(shared: &Shared, ask: &Ask) -> Result<(), String> {
    let label = ask.params.get("mode").ok_or("`mode` is missing")?;
    if label == "off" {
        shared.end_outage();
        return Ok(());
    }
    let mode = OutageMode::from_label(label)
        .ok_or("`mode` is one of off, refuse, reset, html_502, hang")?;
    let for_ms = match ask.params.get("for_ms") {
        Some(_) => Some(number(ask, "for_ms")?),
        None if mode == OutageMode::Refuse => {
            return Err("`refuse` closes the admin door too: say `for_ms`".to_owned());
        }
        None => None,
    };
    shared.begin_outage(mode, for_ms);
    Ok(())
}

fn keys(shared: &Shared, ask: &Ask) -> Result<(), String> {
    let (add, remove) = (ask.params.get("add"), ask.params.get("remove"));
    if add.is_none() && remove.is_none() {
        return Err("`add` or `remove` is missing".to_owned());
    }
    let mut world = shared.world();
    add.into_iter().for_each(|key| world.accounts.add_key(key));
    remove.into_iter().for_each(|key| world.accounts.remove_key(key));
    world.accounts.lift_bans();
    Ok(())
}
