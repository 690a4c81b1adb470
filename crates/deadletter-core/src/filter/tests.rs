//! Tests of the filter grammar: what it means, how it is shown, what its errors say.

use super::{pattern::Piece, *};
use crate::{
    Class, Counters, DeadReason, Dimensions, State, Why,
    samples::{self, THEN},
};
use proptest::{prelude::*, sample::select};

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match text.parse::<Filter>() {
        Ok(filter) => panic!("{text} was read as {filter}"),
        Err(error) => error.to_string(),
    }
}

/// The dead letter that the examples of the documentation choose.
fn dead_letter() -> Task {
    Task {
        state: State::Dead { reason: DeadReason::AttemptsExhausted },
        cause: Some(Cause::new(Cause::TIMEOUT)),
        class: Some(Class::Transient),
        fingerprint: Some("0123456789abcdef".to_owned()),
        owner: Some("alice".to_owned()),
        counters: Counters {
            attempts: 5,
            submits: 4,
            failures: 3,
            refusals: 2,
            ..samples::task().counters
        },
        dimensions: Dimensions {
            method: "userrecaptcha".to_owned(),
            sitekey: Some("6Le-wvkSAAAA".to_owned()),
            host: Some("Shop.Example.com".to_owned()),
            proxy: Some("10.0.0.1:8080".to_owned()),
            batch: Some("week 9, monday".to_owned()),
            tags: vec!["vip".to_owned(), "eu".to_owned()],
        },
        ..samples::task()
    }
}

fn chooses(text: &str, task: &Task) -> bool {
    filter(text).matches(task, THEN.plus(3_600_000))
}

#[test]
fn every_key_chooses_by_what_it_names() {
    let dead = dead_letter();
    let id = dead.id;
    let chosen = [
        "state:dead",
        "state:queued,DEAD",
        "reason:attempts_exhausted",
        "cause:TIMEOUT",
        "cause:timeout",
        "cause:TIME*",
        "class:transient",
        "sitekey:6Le*",
        "googlekey:6Le*",
        "sitekey:*AAAA",
        "sitekey:6*wv*A",
        "host:shop.example.com",
        "host:*.EXAMPLE.com",
        "proxy:10.0.0.1:8080",
        "method:userrecaptcha",
        "batch:\"week 9, monday\"",
        "batch:week\\ 9\\,*",
        "batch:week*",
        "tag:eu",
        "tag:x,vip",
        "owner:alice",
        "account:main",
        "group:0123456789abcdef",
        "fingerprint:0123*",
        "age:<2h",
        "age:>=1h",
        "age:=60m",
        "idle:<=3600s",
        "attempts:5",
        "attempts:=5",
        "attempts:>=4",
        "submits:<5",
        "failures:1,3",
        "refusals:<=2",
        "redrives:0",
        "priority:1",
        "held:no",
        "-state:solved",
        "-batch:nightly",
        "-why:new",
        "state:dead cause:TIMEOUT age:<24h attempts:>=4 -batch:nightly",
        "",
        "*",
        "  ",
    ];
    for text in chosen {
        assert!(chooses(text, &dead), "{text} must choose the dead letter");
    }
    assert!(chooses(&format!("id:{id}"), &dead));
}

#[test]
fn every_key_leaves_out_what_it_does_not_name() {
    let dead = dead_letter();
    let left_out = [
        "state:buried",
        "reason:proxy",
        "cause:NETWORK",
        "cause:TIME",
        "class:stale",
        "sitekey:6L",
        "sitekey:6Le*BBBB",
        "host:example.com",
        "proxy:10.0.0.1",
        "method:turnstile",
        "batch:week",
        "tag:e",
        "-tag:eu",
        "owner:bob",
        "account:other",
        "group:ff",
        "why:new",
        "age:<1h",
        "idle:>1h",
        "attempts:<5",
        "submits:>4",
        "failures:0",
        "priority:>1",
        "held:yes",
        "id:7",
        "state:dead state:solved",
        "state:dead cause:NETWORK",
    ];
    for text in left_out {
        assert!(!chooses(text, &dead), "{text} must leave the dead letter out");
    }
}

#[test]
fn what_a_task_does_not_have_is_found_by_negation_only() {
    let new = samples::task();
    for key in ["batch", "owner", "sitekey", "tag", "cause", "group"] {
        assert!(!chooses(&format!("{key}:*"), &new), "{key}:* chose a task without one");
        assert!(chooses(&format!("-{key}:*"), &new), "-{key}:* left a task without one out");
    }
    assert!(chooses("why:new", &new));
    assert!(chooses("held:yes", &Task { hold: Some("h".to_owned()), ..new }));
}

#[test]
fn a_wildcard_stands_for_any_text_anywhere() {
    let star = |text: &str| {
        let piece = |c| if c == '*' { Piece::Star } else { Piece::Char(c) };
        Pattern::of(Key::Batch, &text.chars().map(piece).collect::<Vec<_>>())
    };
    let matching =
        [("*", ""), ("**", "x"), ("a*", "a"), ("a*a", "aa"), ("*b*", "abc"), ("a*b*c", "aXbYbc")];
    for (pattern, text) in matching {
        assert!(star(pattern).matches(text), "{pattern} on {text}");
    }
    for (pattern, text) in
        [("a*a", "a"), ("a*b*c", "acb"), ("*ab*ab*", "ab"), ("", "a"), ("ab*", "a")]
    {
        assert!(!star(pattern).matches(text), "{pattern} on {text}");
    }
    let literal = Task {
        dimensions: Dimensions { batch: Some("*".to_owned()), ..Dimensions::default() },
        ..samples::task()
    };
    assert!(chooses("batch:\\*", &literal) && !chooses("batch:\\*", &dead_letter()));
    assert!(chooses("batch:\"\\*\"", &literal) && chooses("batch:\"*\"", &dead_letter()));
}

#[test]
fn errors_name_the_term_its_place_and_the_fix() {
    let cases = [
        (
            "state:dead cuase:X",
            "there is no key \"cuase\" in `cuase:X` at character 12: did you mean cause?",
        ),
        (
            "é:1",
            "there is no key \"é\" in `é:1` at character 1: the keys are state, reason, cause,",
        ),
        (
            "batch:\"é é\" foo",
            "there is no key in `foo` at character 13: write key:value, such as cause:TIMEOUT",
        ),
        ("dead", "write state:dead"),
        ("1754", "write id:1754"),
        ("attempts>=4", "write a colon behind the key: attempts:>=4"),
        ("state:ded", "did you mean dead? it is one of queued, submitting,"),
        ("state:*", "there is no value \"*\""),
        ("class:temporary", "it is one of capacity, transient,"),
        ("reason:permanant", "did you mean permanent?"),
        ("age:<24", "add a unit: 24s, 24m, 24h or 24d"),
        ("age:24h", "write age:<24h for less, age:>24h for more"),
        ("idle:<1w", "such as idle:<24h"),
        ("age:<99999999999999999d", "is not a length of time"),
        ("attempts:four", "write a whole number, such as attempts:>=4"),
        ("attempts:-1", "\"-1\" is not a number"),
        ("id:12x", "such as id:1754"),
        ("held:maybe", "write held:yes or held:no"),
        ("cause:", "write cause:VALUE, or leave the term out"),
        ("cause:A,,B", "cause has no value"),
        ("batch:\"x", "a quote is not closed"),
        ("batch:x\\", "nothing follows the last backslash"),
    ];
    for (text, expected) in cases {
        assert!(error(text).contains(expected), "{text}: {}", error(text));
    }
}

#[test]
fn a_filter_is_bounded() {
    let terms = |n: usize| (0..n).map(|n| format!("cause:C{n}")).collect::<Vec<_>>().join(" ");
    assert!(terms(MAX_TERMS).parse::<Filter>().is_ok());
    assert!(error(&terms(MAX_TERMS + 1)).contains("more than 64 terms"));
    let values = |key: &str, n: usize| format!("{key}:{}", vec!["1"; n].join(","));
    assert!(values("submits", MAX_VALUES).parse::<Filter>().is_ok());
    assert!(error(&values("submits", MAX_VALUES + 1)).contains("at most 256 values"));
    assert!(values("id", MAX_IDS).parse::<Filter>().is_ok());
    assert!(error(&values("id", MAX_IDS + 1)).contains("at most 10000 values"));
    assert!(error(&format!("batch:{}", "x".repeat(MAX_VALUE_BYTES + 1))).contains("too long"));
    assert!(error(&"x".repeat(MAX_BYTES + 1)).contains("longer than 262144 bytes"));
    assert!(Filter::batch(&"x".repeat(MAX_VALUE_BYTES + 1)).is_err());
    let ids = |n: u64| (0..n).map(|n| TaskId::try_from((1_u64 << 53) - 1 - n).expect("below 2^53"));
    let largest = Filter::ids(ids(10_000)).expect("at the limit");
    assert_eq!(largest.to_string().parse(), Ok(largest));
    assert!(Filter::ids(ids(10_001)).is_err());
    assert!(Filter::ids([]).is_err(), "no ids must never choose every task");
    assert!(filter(&terms(40)).and(&filter(&values("submits", 3))).is_ok());
    let other = terms(60).replace("cause:", "batch:");
    assert!(filter(&terms(40)).and(&filter(&other)).is_err());
}

#[test]
fn constructors_choose_what_they_say() {
    let dead = dead_letter();
    let now = THEN;
    assert!(Filter::all().is_all() && Filter::all().matches(&dead, now));
    assert!(Filter::ids([dead.id]).expect("fits").matches(&dead, now));
    assert!(Filter::states(&[StateKind::Dead]).matches(&dead, now));
    assert!(!Filter::states(&[]).matches(&dead, now));
    assert_eq!(Filter::states(&[]).range().states, Some(vec![]));
    assert!(Filter::cause(&Cause::new("timeout")).matches(&dead, now));
    assert!(Filter::batch("week 9, monday").expect("fits").matches(&dead, now));
    assert!(Filter::owner("alice").expect("fits").matches(&dead, now));
    assert!(!Filter::owner("*").expect("fits").matches(&dead, now), "names are taken literally");
    let both = Filter::states(&[StateKind::Dead]).and(&filter("cause:NETWORK")).expect("fits");
    assert!(!both.matches(&dead, now));
    assert!(both.mentions(Key::State) && both.mentions(Key::Cause) && !both.mentions(Key::Id));
}

#[test]
fn the_range_holds_what_an_index_can_answer() {
    let range = filter(
        "id:5,3,5 id:3,4,5 -state:solved state:dead,solved cause:timeout sitekey:6Le batch:\"a b\"",
    )
    .range();
    let ids = [3_u64, 5].map(|id| TaskId::try_from(id).expect("small"));
    assert_eq!(
        range,
        Range {
            ids: Some(ids.to_vec()),
            states: Some(vec![StateKind::Dead]),
            cause: Some(Cause::new("TIMEOUT")),
            sitekey: Some("6Le".to_owned()),
            batch: Some("a b".to_owned()),
        }
    );
    assert_eq!(
        filter("reason:proxy").range().states,
        Some(vec![StateKind::Dead, StateKind::Buried])
    );
    assert_eq!(filter("why:retry").range().states, Some(vec![StateKind::Queued]));
    for open in [
        "",
        "cause:A,B",
        "cause:A*",
        "-cause:A",
        "-batch:x",
        "-id:4",
        "-reason:proxy",
        "-why:new",
        "host:x",
    ] {
        assert_eq!(filter(open).range(), Range::default(), "{open}");
    }
}

#[test]
fn a_filter_is_stored_as_its_text() {
    let stored = serde_json::to_string(&filter("state:dead googlekey:6Le*")).expect("a string");
    assert_eq!(stored, "\"state:dead sitekey:6Le*\"");
    assert_eq!(serde_json::from_str(&stored).ok(), Some(filter("state:dead sitekey:6Le*")));
    assert!(serde_json::from_str::<Filter>("\"nonsense\"").is_err());
}

/// A word as it is written: escaped, sometimes quoted, sometimes with wildcards.
fn written() -> impl Strategy<Value = String> {
    (samples::words(), any::<bool>(), any::<bool>()).prop_map(|(word, quote, star)| {
        let mut out = String::new();
        for c in word.chars() {
            let special = matches!(c, '"' | '\\')
                || (c == '*' && !star)
                || (!quote && matches!(c, ' ' | ','));
            out.extend(special.then_some('\\'));
            out.push(c);
        }
        if quote || out.is_empty() { format!("\"x{out}\"") } else { out }
    })
}

fn terms() -> impl Strategy<Value = String> {
    let texts = [
        "cause",
        "sitekey",
        "googlekey",
        "host",
        "proxy",
        "method",
        "batch",
        "tag",
        "owner",
        "account",
        "group",
    ];
    let numbers = ["attempts", "submits", "failures", "refusals", "redrives", "priority"];
    let sign = select(vec!["", "=", "<", "<=", ">", ">="]);
    let labels =
        |all: Vec<&'static str>| prop::collection::vec(select(all), 1..4).prop_map(|v| v.join(","));
    let of = |key: &'static str, all: Vec<&'static str>| {
        labels(all).prop_map(move |v| format!("{key}:{v}"))
    };
    let states = StateKind::ALL.iter().map(|s| s.label()).collect();
    let reasons = DeadReason::ALL.iter().map(|s| s.label()).collect();
    let term = prop_oneof![
        of("state", states),
        of("reason", reasons),
        of("class", Class::ALL.iter().map(|s| s.label()).collect()),
        of("why", Why::ALL.iter().map(|s| s.label()).collect()),
        of("held", vec!["yes", "no"]),
        prop::collection::vec(0_u64..4, 1..4).prop_map(|ids| {
            let ids: Vec<String> = ids.iter().map(|n| TaskId::at(THEN, *n).to_string()).collect();
            format!("id:{}", ids.join(","))
        }),
        (select(texts.to_vec()), prop::collection::vec(written(), 1..3))
            .prop_map(|(key, v)| format!("{key}:{}", v.join(","))),
        (select(numbers.to_vec()), sign.clone(), 0_u32..6)
            .prop_map(|(key, sign, n)| format!("{key}:{sign}{n}")),
        (select(vec!["age", "idle"]), sign, 0_u32..300, select(vec!["ms", "s", "m", "h", "d"]))
            .prop_filter("an age needs a sign", |(_, sign, _, _)| !sign.is_empty())
            .prop_map(|(key, sign, n, unit)| format!("{key}:{sign}{n}{unit}")),
    ];
    (any::<bool>(), term)
        .prop_map(|(negated, term)| format!("{}{term}", if negated { "-" } else { "" }))
}

fn filters() -> impl Strategy<Value = Filter> {
    prop::collection::vec(terms(), 0..4).prop_map(|terms| filter(&terms.join(" ")))
}

fn is_within(range: &Range, task: &Task) -> bool {
    range.ids.as_ref().is_none_or(|ids| ids.contains(&task.id))
        && range.states.as_ref().is_none_or(|states| states.contains(&task.kind()))
        && range.cause.as_ref().is_none_or(|cause| task.cause.as_ref() == Some(cause))
        && range.sitekey.as_ref().is_none_or(|key| task.dimensions.sitekey.as_ref() == Some(key))
        && range.batch.as_ref().is_none_or(|batch| task.dimensions.batch.as_ref() == Some(batch))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_shown_filter_is_read_as_the_same_filter(filter in filters()) {
        prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
    }

    #[test]
    fn any_text_is_read_or_refused_and_reads_back(text in "\\PC{0,40}|[a-z:,\"\\\\*<>= -]{0,30}|(state|batch|age|id):\\PC{0,10}") {
        if let Ok(filter) = text.parse::<Filter>() {
            prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
        }
    }

    #[test]
    fn a_task_outside_the_range_never_matches(filter in filters(), task in samples::tasks()) {
        if filter.matches(&task, THEN) {
            prop_assert!(is_within(&filter.range(), &task), "{} {:?}", filter, task);
        }
    }

    #[test]
    fn and_chooses_what_both_choose(a in filters(), b in filters(), task in samples::tasks()) {
        let both = a.and(&b).expect("few terms");
        let expected = a.matches(&task, THEN) && b.matches(&task, THEN);
        prop_assert_eq!(both.matches(&task, THEN), expected);
        prop_assert_eq!(both.and(&a).expect("few terms"), both);
    }

    #[test]
    fn a_negated_term_chooses_the_rest(term in terms(), task in samples::tasks()) {
        let other = term.strip_prefix('-').map_or_else(|| format!("-{term}"), str::to_owned);
        prop_assert_ne!(filter(&term).matches(&task, THEN), filter(&other).matches(&task, THEN));
    }

    #[test]
    fn a_name_is_chosen_literally(text in "\\PC{0,20}") {
        let dimensions = Dimensions { batch: Some(text.clone()), ..Dimensions::default() };
        let task = Task { dimensions, ..samples::task() };
        let filter = Filter::batch(&text).expect("short");
        prop_assert!(filter.matches(&task, THEN));
        prop_assert_eq!(filter.range().batch, Some(text));
    }
}
