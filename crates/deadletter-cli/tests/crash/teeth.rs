//! Each check sees the defect that it is there for: evidence of a good run, falsified one fact at
//! a time.

use super::*;
use crate::ledger::Won;
use deadletter::core::UnixMs;
use deadletter::store::Totals;

const TIMEOUT_MS: i64 = 120_000;
const SOLVED: &str = "https://a.test/solved";
const AGAIN: &str = "https://a.test/again";
const DEAD: &str = "https://a.test/dead";

fn id(low: u64) -> TaskId {
    TaskId::at(UnixMs(1_800_000_000_000), low)
}

fn line(seq: u64, phase: &str, page: &str, job: &str, answered: &str) -> Line {
    Line {
        seq,
        at_ms: i64::try_from(seq).expect("small") * 10_000,
        phase: phase.to_owned(),
        pageurl: Some(page.to_owned()),
        id: Some(job.to_owned()),
        answered: answered.to_owned(),
        fault: None,
        paid: phase == "submit",
        delivered: phase == "poll" && answered == "OK",
        open_jobs: 1,
    }
}

fn attempt(token: &str, intent_at: i64, job: Option<&str>, verdict: Verdict) -> Try {
    Try {
        token: token.to_owned(),
        intent_at,
        upstream_id: job.map(str::to_owned),
        accepted_at: job.map(|_| intent_at + 5),
        is_open: false,
        verdict: Some(verdict),
    }
}

fn task(page: &str, state: StateKind, attempts: Vec<Try>, answer: Option<(&str, &str)>) -> Kept {
    Kept {
        page: page.to_owned(),
        state,
        version: 9,
        max_submits: 2,
        submits: u32::try_from(attempts.len()).expect("small"),
        attempts,
        answer: answer.map(|(token, text)| Won { token: token.to_owned(), text: text.to_owned() }),
    }
}

/// One task solved at once, one at its second attempt, one dead: its first attempt is in doubt
/// after a crash, its second was unsolvable.
fn good() -> Evidence {
    let wire = Wire::of(vec![
        line(1, "submit", SOLVED, "11", "OK"),
        line(2, "poll", SOLVED, "11", "OK"),
        line(3, "submit", AGAIN, "12", "OK"),
        line(4, "poll", AGAIN, "12", "ERROR_CAPTCHA_UNSOLVABLE"),
        line(5, "submit", AGAIN, "13", "OK"),
        line(6, "poll", AGAIN, "13", "OK"),
        line(7, "submit", DEAD, "14", "OK"),
        line(8, "submit", DEAD, "15", "OK"),
        line(9, "poll", DEAD, "15", "ERROR_CAPTCHA_UNSOLVABLE"),
    ]);
    let again = vec![
        attempt("b1", 30_000, Some("12"), Verdict::Failed),
        attempt("b2", 50_000, Some("13"), Verdict::Solved),
    ];
    let dead = vec![
        attempt("c1", 70_000, None, Verdict::InDoubt),
        attempt("c2", 80_000, Some("15"), Verdict::Failed),
    ];
    let solved = vec![attempt("a1", 10_000, Some("11"), Verdict::Solved)];
    let totals = Totals { accepted: 3, solved: 2, dead: 1, ..Totals::default() };
    let ledger = Ledger {
        tasks: BTreeMap::from([
            (id(1), task(SOLVED, StateKind::Solved, solved, Some(("a1", "SIM-0-11-aa")))),
            (id(2), task(AGAIN, StateKind::Solved, again, Some(("b2", "SIM-0-13-bb")))),
            (id(3), task(DEAD, StateKind::Dead, dead, None)),
        ]),
        totals,
        recount: totals,
        events: vec![
            (id(1), StateKind::Solved),
            (id(2), StateKind::Solved),
            (id(3), StateKind::Dead),
        ],
        broken: Vec::new(),
    };
    Evidence {
        wire,
        ledger,
        written: vec![(id(1), "SIM-0-11-aa".to_owned()), (id(2), "SIM-0-13-bb".to_owned())],
        pages: [SOLVED, AGAIN, DEAD].map(str::to_owned).into(),
        threads: 2,
        timeout_ms: TIMEOUT_MS,
        is_finished: true,
    }
}

/// The promises that the checks find broken once `falsify` has changed the evidence.
fn broken_by(falsify: impl FnOnce(&mut Evidence)) -> BTreeSet<&'static str> {
    let mut evidence = good();
    falsify(&mut evidence);
    CHECKS
        .iter()
        .filter(|(_, check)| !check(&evidence).is_empty())
        .map(|(promise, _)| *promise)
        .collect()
}

fn kept(evidence: &mut Evidence, low: u64) -> &mut Kept {
    evidence.ledger.tasks.get_mut(&id(low)).expect("a task of the sample")
}

/// Rewrites the log.
fn relog(evidence: &mut Evidence, edit: impl FnOnce(&mut Vec<Line>)) {
    let mut lines = evidence.wire.lines().to_vec();
    edit(&mut lines);
    evidence.wire = Wire::of(lines);
}

fn assert_breaks(promise: &str, falsify: impl FnOnce(&mut Evidence)) {
    let broken = broken_by(falsify);
    assert!(broken.contains(promise), "expected {promise:?} among {broken:?}");
}

#[test]
fn a_good_run_breaks_nothing() {
    assert_eq!(violations(&good()), Vec::<String>::new());
}

#[test]
fn a_count_that_drifted_is_seen() {
    let promise = "accepted = states + purged, and a recount agrees";
    assert_breaks(promise, |e| e.ledger.totals.accepted += 1);
    assert_breaks(promise, |e| {
        (e.ledger.totals.solved, e.ledger.totals.dead) = (1, 2);
    });
    assert_breaks(promise, |e| {
        e.ledger.tasks.remove(&id(3));
    });
}

#[test]
fn a_lost_a_doubled_and_a_forgotten_task_are_seen() {
    let promise = "every row is one task, and no accepted task is lost";
    assert_breaks(promise, |e| {
        e.ledger.tasks.remove(&id(1));
    });
    assert_breaks(promise, |e| {
        let double = kept(e, 1).clone();
        e.ledger.tasks.insert(id(4), double);
    });
    assert_breaks(promise, |e| kept(e, 3).state = StateKind::Submitting);
    assert_breaks(promise, |e| kept(e, 3).page = "https://a.test/nobody-asked".to_owned());
}

#[test]
fn a_submit_without_an_intent_is_seen() {
    let promise = "wire submits never exceed intents";
    assert_breaks(promise, |e| {
        relog(e, |log| log.push(line(10, "submit", SOLVED, "16", "OK")));
    });
    assert_breaks(promise, |e| kept(e, 3).attempts[0].verdict = Some(Verdict::Withheld));
    assert_breaks(promise, |e| {
        relog(e, |log| log.push(line(10, "submit", "https://a.test/unknown", "16", "OK")));
    });
}

#[test]
fn a_payment_above_k_is_seen() {
    let promise = "accepted plus in doubt never exceeds K";
    assert_breaks(promise, |e| kept(e, 2).max_submits = 1);
    assert_breaks(promise, |e| {
        kept(e, 3).attempts.push(attempt("c3", 90_000, None, Verdict::InDoubt));
    });
    assert_breaks(promise, |e| kept(e, 3).attempts[0].verdict = Some(Verdict::Refused));
    assert_breaks(promise, |e| kept(e, 3).submits = 1);
}

#[test]
fn an_upstream_id_of_another_task_is_seen() {
    let promise = "an upstream id belongs to one task";
    assert_breaks(promise, |e| kept(e, 1).attempts[0].upstream_id = Some("13".to_owned()));
    assert_breaks(promise, |e| kept(e, 1).attempts[0].upstream_id = Some("99".to_owned()));
}

#[test]
fn a_submit_over_a_stored_id_is_seen() {
    let promise = "a stored upstream id is asked before anything is submitted again";
    let says = |answer: &'static str, at_ms: i64| {
        move |e: &mut Evidence| {
            relog(e, |log| {
                log[3].answered = answer.to_owned();
                log[3].at_ms = at_ms;
                log[3].fault = Some("html_502".to_owned());
            });
        }
    };
    assert_breaks(promise, says("HTML_502", 40_000));
    assert_breaks(promise, says("CAPCHA_NOT_READY", 40_000));
    assert_breaks(promise, |e| {
        relog(e, |log| log.swap(3, 4));
        relog(e, |log| (log[3].seq, log[4].seq) = (4, 5));
    });
    // The same answer past the time-out lets the attempt go.
    assert!(!broken_by(says("CAPCHA_NOT_READY", 30_000 + TIMEOUT_MS)).contains(promise));
    // An id that was read only after its attempt had been given up binds nobody.
    let read_late = |e: &mut Evidence| {
        says("HTML_502", 40_000)(e);
        kept(e, 2).attempts[0].accepted_at = Some(60_000);
    };
    assert!(!broken_by(read_late).contains(promise));
}

#[test]
fn a_dead_programs_submit_that_arrives_behind_the_next_ones_is_no_second_submit() {
    let late = |evidence: &mut Evidence| {
        relog(evidence, |lines| {
            for line in lines.iter_mut().filter(|line| line.seq == 7 || line.seq == 8) {
                line.seq = 15 - line.seq;
            }
            lines.sort_by_key(|line| line.seq);
        });
    };
    assert_eq!(broken_by(late), BTreeSet::new());
    let promise = "a stored upstream id is asked before anything is submitted again";
    assert_breaks(promise, |evidence| {
        late(evidence);
        // Nothing that was sent before is missing: the one behind is a submit too many.
        kept(evidence, 3).attempts[0].verdict = Some(Verdict::Refused);
    });
}

#[test]
fn an_id_that_nobody_asks_for_any_more_is_seen() {
    let promise = "a stored upstream id is followed to its end";
    assert_breaks(promise, |e| {
        relog(e, |log| {
            log.remove(8);
        });
    });
    assert_breaks(promise, |e| {
        e.is_finished = false;
        relog(e, |log| {
            log.remove(8);
        });
    });
}

#[test]
fn a_wrong_a_shared_and_a_missing_answer_are_seen() {
    let promise = "an answer is kept, true, and goes to one task";
    let text = |low, text: &'static str| {
        move |e: &mut Evidence| kept(e, low).answer.as_mut().expect("solved").text = text.into()
    };
    assert_breaks(promise, |e| kept(e, 1).answer = None);
    assert_breaks(promise, text(1, "SIM-0-13-bb"));
    assert_breaks(promise, text(2, "SIM-0-12-bb"));
    assert_breaks(promise, |e| {
        relog(e, |log| log[1].fault = Some("cut_body".to_owned()));
    });
    // Read, its attempt closed, and yet not used.
    assert_breaks(promise, |e| kept(e, 2).state = StateKind::Dead);
}

#[test]
fn an_answer_that_is_written_wrongly_twice_or_never_is_seen() {
    let promise = "each answer is written out once";
    assert_breaks(promise, |e| e.written[0].1 = "SIM-0-13-bb".to_owned());
    assert_breaks(promise, |e| e.written.push(e.written[0].clone()));
    assert_breaks(promise, |e| {
        e.written.pop();
    });
    assert_breaks(promise, |e| e.written[0].0 = id(3));
}

#[test]
fn a_job_beyond_the_threads_is_seen() {
    assert_breaks("open jobs never exceed the threads", |e| {
        relog(e, |log| log[4].open_jobs = 3);
    });
}

#[test]
fn a_missing_and_a_second_event_are_seen() {
    let promise = "each terminal change is one event";
    assert_breaks(promise, |e| {
        e.ledger.events.pop();
    });
    assert_breaks(promise, |e| e.ledger.events.push((id(1), StateKind::Solved)));
    assert_breaks(promise, |e| e.ledger.events.push((id(1), StateKind::Dead)));
}

#[test]
fn what_the_core_finds_broken_is_passed_on() {
    assert_breaks("the core's invariants hold for every task", |e| {
        e.ledger.broken.push("task 1: two states".to_owned());
    });
}

#[test]
fn what_a_restart_forgets_is_seen() {
    let forgets = |falsify: fn(&mut Evidence)| {
        let (before, mut after) = (good(), good());
        falsify(&mut after);
        regressions(&before.ledger, &after.ledger)
    };
    assert_eq!(forgets(|_| {}), Vec::<String>::new());
    let falsifications: [fn(&mut Evidence); 7] = [
        |e| {
            e.ledger.tasks.remove(&id(3));
        },
        |e| kept(e, 1).version = 8,
        |e| kept(e, 1).state = StateKind::Dead,
        |e| kept(e, 1).answer.as_mut().expect("solved").text = "other".to_owned(),
        |e| {
            kept(e, 2).attempts.pop();
        },
        |e| kept(e, 2).attempts[0].upstream_id = None,
        |e| {
            e.ledger.events.remove(0);
        },
    ];
    for (nth, falsify) in falsifications.into_iter().enumerate() {
        assert_ne!(forgets(falsify), Vec::<String>::new(), "falsification {nth} went unseen");
    }
}

#[test]
fn a_purged_letter_may_be_gone_and_nothing_else() {
    let spare = |evidence: &mut Evidence| {
        let page = "https://spare.test/1/0";
        evidence.ledger.tasks.insert(id(9), task(page, StateKind::Dead, Vec::new(), None));
        evidence.ledger.events.insert(0, (id(9), StateKind::Dead));
    };
    let (mut before, after) = (good(), good());
    spare(&mut before);
    assert_eq!(regressions(&before.ledger, &after.ledger), Vec::<String>::new());
    kept(&mut before, 1).page = "https://spare.test.example/".to_owned();
    let mut less = good();
    less.ledger.tasks.remove(&id(1));
    assert_ne!(regressions(&before.ledger, &less.ledger), Vec::<String>::new());
}

#[test]
fn a_backup_that_does_not_add_up_is_seen() {
    let mut evidence = good();
    assert_eq!(violations_alone(&evidence.ledger), Vec::<String>::new());
    evidence.ledger.broken.push("task 1: two states".to_owned());
    assert_eq!(violations_alone(&evidence.ledger).len(), 1);
    let mut evidence = good();
    evidence.ledger.tasks.remove(&id(1));
    assert_eq!(violations_alone(&evidence.ledger).len(), 1);
}
