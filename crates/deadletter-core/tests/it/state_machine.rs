//! The transition table over every pair of state and step, and the page that is rendered from it.

use deadletter_core::{
    DeadReason, Next, State, StateKind, Step, StepKind, UnixMs, UpstreamId, Why, next,
};
use std::fmt::Write as _;

/// Where each state (down) goes by each step (across); the order is that of `StepKind::ALL`.
const TABLE: &str = "
            claim      retry  snooze accept  solve  late_answer die  bury   resume  redrive exhume cancel    purge
queued      submitting -      queued polling -      solved      dead buried -       -       -      cancelled -
submitting  -          queued queued polling -      solved      dead buried -       -       -      cancelled -
polling     -          queued -      -       solved solved      dead buried -       -       -      cancelled -
solved      -          -      -      -       -      -           -    -      -       -       -      -         purged
dead        -          -      -      -       -      solved      -    buried polling queued  -      cancelled purged
buried      -          -      -      -       -      solved      -    -      -       -       dead   -         purged
cancelled   -          -      -      -       -      -           -    -      -       -       -      -         purged
";

fn id(text: &str) -> UpstreamId {
    UpstreamId::new(text).unwrap()
}

fn state(kind: StateKind) -> State {
    match kind {
        StateKind::Queued => State::Queued { due_at: UnixMs(1), why: Why::New },
        StateKind::Submitting => State::Submitting,
        StateKind::Polling => State::Polling { upstream_id: id("u-1") },
        StateKind::Solved => State::Solved,
        StateKind::Dead => State::Dead { reason: DeadReason::Proxy },
        StateKind::Buried => State::Buried { reason: DeadReason::Permanent },
        StateKind::Cancelled => State::Cancelled,
    }
}

fn step(kind: StepKind) -> Step {
    let due_at = UnixMs(7);
    match kind {
        StepKind::Claim => Step::Claim,
        StepKind::Retry => Step::Retry { due_at },
        StepKind::Snooze => Step::Snooze { due_at, why: Why::Capacity },
        StepKind::Accept => Step::Accept { upstream_id: id("u-2") },
        StepKind::Solve => Step::Solve,
        StepKind::LateAnswer => Step::LateAnswer,
        StepKind::Die => Step::Die { reason: DeadReason::Unknown },
        StepKind::Bury => Step::Bury { reason: DeadReason::Deadline },
        StepKind::Resume => Step::Resume { upstream_id: id("u-2") },
        StepKind::Redrive => Step::Redrive { due_at },
        StepKind::Exhume => Step::Exhume,
        StepKind::Cancel => Step::Cancel,
        StepKind::Purge => Step::Purge,
    }
}

/// Where a step leads, as the page and the table above name it.
fn target(from: StateKind, by: StepKind) -> Option<&'static str> {
    Some(match next(&state(from), &step(by))? {
        Next::State(to) => to.kind().label(),
        Next::Purged => "purged",
    })
}

#[test]
fn every_pair_of_state_and_step_leads_where_the_table_says() {
    let mut lines = TABLE.trim_start_matches('\n').lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert!(header.iter().copied().eq(StepKind::ALL.iter().map(|step| step.label())));
    let mut pairs = 0;
    for (from, line) in StateKind::ALL.iter().zip(lines) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells[0], from.label());
        for (by, cell) in StepKind::ALL.iter().zip(&cells[1..]) {
            assert_eq!(target(*from, *by).unwrap_or("-"), *cell, "{from} by {by}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, StateKind::ALL.len() * StepKind::ALL.len());
}

#[test]
fn a_step_brings_its_facts_into_the_state() {
    let after = |from, by| match next(&state(from), &step(by)) {
        Some(Next::State(state)) => state,
        other => panic!("{from} by {by}: {other:?}"),
    };
    use {StateKind as K, StepKind as S};
    let queued = |why| State::Queued { due_at: UnixMs(7), why };
    assert_eq!(after(K::Polling, S::Retry), queued(Why::Retry));
    assert_eq!(after(K::Submitting, S::Snooze), queued(Why::Capacity));
    assert_eq!(after(K::Dead, S::Redrive), queued(Why::Redrive));
    assert_eq!(after(K::Submitting, S::Accept), State::Polling { upstream_id: id("u-2") });
    assert_eq!(after(K::Dead, S::Resume), State::Polling { upstream_id: id("u-2") });
    assert_eq!(after(K::Polling, S::Die), State::Dead { reason: DeadReason::Unknown });
    assert_eq!(after(K::Dead, S::Bury), State::Buried { reason: DeadReason::Deadline });
    let exhumed = State::Dead { reason: DeadReason::Permanent };
    assert_eq!(after(K::Buried, S::Exhume), exhumed, "the reason comes back with the task");
}

#[test]
fn every_state_is_reached_and_every_task_can_be_purged() {
    let mut reached = vec![StateKind::Queued];
    let mut looked_at = 0;
    while let Some(from) = reached.get(looked_at).copied() {
        for by in StepKind::ALL {
            if let Some(Next::State(to)) = next(&state(from), &step(*by))
                && !reached.contains(&to.kind())
            {
                reached.push(to.kind());
            }
        }
        looked_at += 1;
    }
    reached.sort_unstable();
    assert_eq!(reached, StateKind::ALL);
    for kind in StateKind::ALL {
        assert_eq!(kind.is_terminal(), target(*kind, StepKind::Purge).is_some(), "{kind}");
    }
}

#[test]
fn labels_are_read_back_and_described() {
    for kind in StateKind::ALL {
        assert_eq!((state(*kind).kind(), kind.label().parse()), (*kind, Ok(*kind)));
        assert!(kind.about().ends_with('.') && !kind.about().contains("  "), "{}", kind.about());
    }
    for kind in StepKind::ALL {
        assert_eq!((step(*kind).kind(), kind.label().parse()), (*kind, Ok(*kind)));
        assert!(kind.about().ends_with('.') && !kind.about().contains("  "), "{}", kind.about());
    }
}

/// The whole page, from the table and the descriptions that stand beside it in the code.
fn page() -> String {
    let mut page = String::from(
        "# The states of a task\n\n\
         Rendered from `crates/deadletter-core/src/state.rs`: change it there, then run\n\
         `DEADLETTER_BLESS=1 cargo test -p deadletter-core`.\n\n\
         A task is in exactly one of seven states. A step that the table does not name for a state\n\
         does not exist there: it changes nothing.\n\n",
    );
    diagram(&mut page);
    table(&mut page);
    page.push_str("## States\n\n");
    for kind in StateKind::ALL {
        paragraph(&mut page, kind.label(), kind.about());
    }
    page.push_str("## Steps\n\n");
    for kind in StepKind::ALL {
        paragraph(&mut page, kind.label(), kind.about());
    }
    page.push_str("## Why a task is queued\n\n");
    for why in Why::ALL {
        writeln!(page, "- `{why}`: {}", why.about()).unwrap();
    }
    page.push_str("\n## Why a task is dead or buried\n\n");
    for reason in DeadReason::ALL {
        writeln!(page, "- `{reason}`: {}", reason.about()).unwrap();
    }
    page
}

fn paragraph(page: &mut String, label: &str, about: &str) {
    writeln!(page, "**{label}**: {about}\n").unwrap();
}

fn diagram(page: &mut String) {
    page.push_str("```mermaid\nstateDiagram-v2\n    [*] --> queued: insert\n");
    for from in StateKind::ALL {
        let mut targets: Vec<(&str, Vec<&str>)> = Vec::new();
        for by in StepKind::ALL {
            let Some(to) = target(*from, *by) else { continue };
            match targets.iter_mut().find(|(known, _)| *known == to) {
                Some((_, steps)) => steps.push(by.label()),
                None => targets.push((to, vec![by.label()])),
            }
        }
        for (to, steps) in targets {
            let to = if to == "purged" { "[*]" } else { to };
            writeln!(page, "    {from} --> {to}: {}", steps.join(", ")).unwrap();
        }
    }
    page.push_str("```\n\n");
}

/// Steps down, states across: there are more steps than fit across.
fn table(page: &mut String) {
    page.push_str("| step |");
    for from in StateKind::ALL {
        write!(page, " from {from} |").unwrap();
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(StateKind::ALL.len()));
    for by in StepKind::ALL {
        write!(page, "\n| {by} |").unwrap();
        for from in StateKind::ALL {
            write!(page, " {} |", target(*from, *by).unwrap_or_default()).unwrap();
        }
    }
    page.push_str("\n\n");
}

#[test]
fn the_page_of_the_state_machine_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machine.md");
    let page = page();
    if std::env::var_os("DEADLETTER_BLESS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page,
        "docs/state-machine.md is stale: run DEADLETTER_BLESS=1 cargo test -p deadletter-core"
    );
}
