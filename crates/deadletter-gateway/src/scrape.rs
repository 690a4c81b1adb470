//! `/metrics`: everything that is counted, in the text form of Prometheus. `docs/metrics.md` has a
//! line for each name.

use crate::{gateway::Gateway, metrics::OfPath};
use deadletter::{
    Tries,
    core::{DeliveryState, breaker::Phase},
    store::{DeliveryCounts, Totals, clock::Stopwatch},
};
use std::{
    fmt::{Display, Write as _},
    sync::atomic::Ordering::Relaxed,
};

/// The version of the text form.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics.
struct Page(String);

impl Page {
    /// Begins a metric: `kind` is `gauge`, `counter` or `histogram`.
    fn begin(&mut self, name: &str, kind: &str) {
        self.line(format_args!("# TYPE deadletter_{name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a text takes everything");
    }

    fn single(&mut self, name: &str, kind: &str, value: impl Display) {
        self.begin(name, kind);
        self.line(format_args!("deadletter_{name} {value}"));
    }
}

/// The page of now.
pub(crate) async fn page(gateway: &Gateway) -> String {
    let mut page = Page(String::new());
    let watch = Stopwatch::start();
    let totals = gateway.store().totals().await;
    page.single("store_up", "gauge", u8::from(totals.is_ok()));
    page.single("store_seconds", "gauge", seconds(watch.elapsed_us()));
    if let Ok(totals) = totals {
        tasks(&mut page, &totals);
    }
    if let Ok(counts) = gateway.store().count_deliveries().await {
        deliveries(&mut page, counts);
    }
    tries(&mut page, gateway.engine.tries());
    if let Some(count) = gateway.unused.count(gateway).await {
        page.single("answers_expired_unused_total", "counter", count);
    }
    page.single("open_tasks", "gauge", gateway.load.open());
    page.single("capacity", "gauge", gateway.settings.capacity);
    accounts(&mut page, gateway);
    let metrics = &gateway.metrics;
    page.single("connections", "gauge", metrics.connections.load(Relaxed));
    let refused = metrics.connections_refused.load(Relaxed);
    page.single("connections_refused_total", "counter", refused);
    page.single("bodies_refused_total", "counter", metrics.bodies_refused.load(Relaxed));
    page.single("refusals_waiting", "gauge", gateway.refusals.waiting());
    page.begin("requests_total", "counter");
    for (path, of) in metrics.paths() {
        for (word, count) in of.words() {
            page.line(format_args!(
                "deadletter_requests_total{{path=\"{path}\",word=\"{word}\"}} {count}"
            ));
        }
    }
    page.begin("request_seconds", "histogram");
    for (path, of) in metrics.paths() {
        times(&mut page, path, of);
    }
    page.0
}

fn tasks(page: &mut Page, totals: &Totals) {
    page.begin("tasks", "gauge");
    for (state, count) in totals.by_state() {
        page.line(format_args!("deadletter_tasks{{state=\"{state}\"}} {count}"));
    }
    page.single("tasks_accepted_total", "counter", totals.accepted);
    page.single("tasks_purged_total", "counter", totals.purged);
}

fn deliveries(page: &mut Page, mut counts: DeliveryCounts) {
    page.begin("deliveries", "gauge");
    for state in DeliveryState::ALL {
        page.line(format_args!("deadletter_deliveries{{state=\"{state}\"}} {}", counts.of(*state)));
    }
}

fn tries(page: &mut Page, tries: Tries) {
    page.begin("delivery_tries_total", "counter");
    for (came, count) in [
        ("delivered", tries.delivered),
        ("answered", tries.answered),
        ("refused", tries.refused),
        ("failed", tries.failed),
    ] {
        page.line(format_args!("deadletter_delivery_tries_total{{came=\"{came}\"}} {count}"));
    }
}

/// The accounts are those of the configuration: their names are few, and have no quotes in them.
fn accounts(page: &mut Page, gateway: &Gateway) {
    let status = gateway.engine.status();
    page.single("submitting", "gauge", status.submitting);
    page.single("polling", "gauge", status.polling + status.polling_late);
    page.begin("threads", "gauge");
    for account in &status.accounts {
        page.line(format_args!(
            "deadletter_threads{{account=\"{}\"}} {}",
            account.name, account.threads
        ));
    }
    page.begin("threads_usable", "gauge");
    for account in &status.accounts {
        page.line(format_args!(
            "deadletter_threads_usable{{account=\"{}\"}} {}",
            account.name, account.limit
        ));
    }
    page.begin("account_stopped", "gauge");
    for account in &status.accounts {
        let is_stopped = u8::from(account.stopped.is_some());
        page.line(format_args!(
            "deadletter_account_stopped{{account=\"{}\"}} {is_stopped}",
            account.name
        ));
    }
    page.begin("breaker", "gauge");
    for account in &status.accounts {
        for phase in [Phase::Closed, Phase::Open, Phase::HalfOpen] {
            let is_it = u8::from(account.phase == phase);
            page.line(format_args!(
                "deadletter_breaker{{account=\"{}\",phase=\"{}\"}} {is_it}",
                account.name,
                phase.label()
            ));
        }
    }
}

fn times(page: &mut Page, path: &str, of: &OfPath) {
    // Read first: a request that is counted meanwhile must not make a bucket larger than all.
    let times: Vec<_> = of.times().collect();
    let count = of.count.load(Relaxed);
    for (bound, within) in times {
        page.line(format_args!(
            "deadletter_request_seconds_bucket{{path=\"{path}\",le=\"{bound}\"}} {within}"
        ));
    }
    page.line(format_args!(
        "deadletter_request_seconds_bucket{{path=\"{path}\",le=\"+Inf\"}} {count}"
    ));
    let sum = seconds(of.sum_us.load(Relaxed));
    page.line(format_args!("deadletter_request_seconds_sum{{path=\"{path}\"}} {sum}"));
    page.line(format_args!("deadletter_request_seconds_count{{path=\"{path}\"}} {count}"));
}

/// Seconds, exactly.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
