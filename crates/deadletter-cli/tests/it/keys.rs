//! `key` and what `serve` says of keys: issued once, listed without themselves, revoked for good.

use crate::{
    bench::{Bench, Ran, ended, first_line, interrupt, ran, started},
    upstream::{Scene, lines},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Child,
};

fn run(bench: &Bench, args: &[&str]) -> Ran {
    let mut command = bench.command(args);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db").env("USER", "ada");
    ran(command)
}

/// What `key add` prints: a key and nothing else.
fn issued(ran: &Ran) -> String {
    let key = ran.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{}", ran.stderr));
    assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert!(!ran.stderr.contains(key), "the key is talked of");
    key.to_owned()
}

#[test]
fn a_key_is_shown_once_and_its_name_is_free_again_when_it_is_revoked() {
    let bench = Bench::new();
    let first = run(&bench, &["key", "add", "shop", "--priority", "low", "--rate", "5/s"]);
    let key = issued(&first);
    assert!(first.stderr.contains("account's own key"), "{}", first.stderr);
    let list = run(&bench, &["key", "list"]);
    let row = &lines(&list)[0];
    assert_eq!((&row["name"], &row["priority"]), (&"shop".into(), &"low".into()));
    assert_eq!((&row["ends_with"], &row["rate_per_s"]), (&key[28..].into(), &5.0.into()));
    assert!(!list.stdout.contains(&key));
    let taken = run(&bench, &["key", "add", "shop"]);
    assert_eq!((taken.code, taken.stdout.as_str()), (1, ""), "{}", taken.stderr);
    let revoked = run(&bench, &["key", "revoke", "shop", "--reason", "it leaked"]);
    assert!(revoked.code == 0 && revoked.stderr.contains("nobody is let in"), "{}", revoked.stderr);
    assert_eq!(run(&bench, &["key", "revoke", "shop"]).code, 1);
    let again = run(&bench, &["key", "add", "shop"]);
    assert!(issued(&again) != key && !again.stderr.contains("account's own key"));
    let audit = run(&bench, &["query", "SELECT body FROM audit ORDER BY n"]);
    for word in ["ada", "it leaked", "revoke", "add"] {
        assert!(audit.stdout.contains(word), "{}", audit.stdout);
    }
}

#[test]
fn what_cannot_be_issued_is_refused_with_a_reason() {
    let bench = Bench::new();
    for (args, code) in [
        (&["key", "add", "a b"][..], 2),
        (&["key", "add", ".hidden"], 2),
        (&["key", "add", "shop", "--priority", "9"], 2),
        (&["key", "add", "shop", "--store", "memory:"], 2),
        (&["key", "add", "shop", "--rate", "5"], 2),
        (&["key", "add", "shop", "--in-flight", "0"], 2),
        (&["key", "list"], 1),
        (&["key", "revoke", "shop"], 1),
    ] {
        let ran = run(&bench, args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {}", ran.stderr);
    }
    assert!(!bench.path("tasks.db").exists());
}

fn serving(scene: &Scene) -> (Child, String) {
    serving_with(scene, &[])
}

/// A gateway on a free port, and its base URL.
pub(crate) fn serving_with(scene: &Scene, args: &[&str]) -> (Child, String) {
    let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
    let mut child = started(scene.command(&args));
    let (line, _) = first_line(&mut child);
    let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line}"));
    (child, address.to_owned())
}

/// Ends a gateway, and answers what it said to people.
pub(crate) fn said(child: Child) -> String {
    interrupt(&child);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

pub(crate) fn ask(address: &str, target: &str) -> String {
    let mut line = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    line.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    line.read_to_string(&mut answer).expect("answered");
    answer.split_once("\r\n\r\n").expect("a reply").1.to_owned()
}

#[test]
fn a_gateway_tells_whose_keys_it_accepts_and_sees_the_first_one_issued() {
    let scene = Scene::happy();
    let open = scene.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.code, 2, "{}", open.stderr);
    assert!(open.stderr.contains("deadletter key add NAME"), "{}", open.stderr);
    let (child, address) = serving(&scene);
    let own = format!("/res.php?action=threadsinfo&key={}", crate::bench::KEY);
    assert!(!ask(&address, &own).starts_with("ERROR"));
    let key = issued(&scene.run(&["key", "add", "shop"]));
    let theirs = format!("/res.php?action=threadsinfo&key={key}");
    while ask(&address, &theirs).starts_with("ERROR") {
        std::thread::yield_now();
    }
    assert!(ask(&address, &own).starts_with("ERROR"));
    let told = said(child);
    assert!(told.contains("****0key: clients go on using the account's own"), "{told}");
    assert!(told.contains("a key was issued"), "{told}");
    let (child, _) = serving(&scene);
    let told = said(child);
    let tail = format!("****{} of shop; the account's own is not accepted", &key[28..]);
    assert!(told.contains(&tail) && !told.contains(&key), "{told}");
}

#[test]
fn show_tells_what_was_said_of_an_answer_and_that_upstream_has_heard_it() {
    let scene = Scene::happy();
    let (child, address) = serving(&scene);
    let key = format!("key={}", crate::bench::KEY);
    let job = "method=userrecaptcha&googlekey=6Le-good&pageurl=https://a.example/";
    let accepted = ask(&address, &format!("/in.php?{key}&{job}"));
    let id = accepted.strip_prefix("OK|").expect("accepted").to_owned();
    let until = |action: &str, is_it: &dyn Fn(&str) -> bool| {
        while !is_it(&ask(&address, &format!("/res.php?{key}&action={action}&id={id}"))) {
            std::thread::yield_now();
        }
    };
    until("get", &|said| said.starts_with("OK|"));
    until("reportbad", &|said| said == "OK_REPORT_RECORDED");
    let shown = || lines(&scene.run(&["show", &id])).remove(0)["report"].clone();
    while shown()["state"] != "answered" {
        std::thread::yield_now();
    }
    let report = shown();
    assert_eq!((&report["verdict"], &report["tries"]), (&"bad".into(), &1.into()));
    assert_eq!(report["upstream_said"], "OK_REPORT_RECORDED");
    said(child);
}
