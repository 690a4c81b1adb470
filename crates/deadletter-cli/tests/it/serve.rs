//! `serve` as a process: it works only where it serves, and says how it ends.

use crate::{
    bench::{ended, first_line, interrupt, ran, started},
    keys::{ask, said, serving_with},
    upstream::{Scene, lines},
};
use std::{
    io::{Read, Write},
    net::TcpListener,
};

#[test]
fn a_gateway_that_cannot_listen_has_begun_no_work() {
    let scene = Scene::happy();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = ran(scene.command(&["serve", "--listen", &address]));
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{}", refused.stderr);
    assert!(refused.stderr.contains("--listen"), "{}", refused.stderr);
    let workers = scene.run(&["query", "SELECT count(*) AS n FROM workers"]);
    assert_eq!(workers.stdout.trim(), r#"{"n":0}"#, "{}", workers.stderr);
}

#[cfg(unix)]
#[test]
fn a_gateway_that_is_handed_two_sockets_is_not_to_guess() {
    let scene = Scene::happy();
    let serve = scene.command(&["serve"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#]).arg(serve.get_program());
    shell.args(serve.get_args()).env_clear();
    if let Some(dir) = serve.get_current_dir() {
        shell.current_dir(dir);
    }
    shell.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let refused = ran(shell);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{}", refused.stderr);
    assert!(refused.stderr.contains("2 sockets") && refused.stderr.contains("ListenStream"));
}

#[test]
fn a_gateway_that_is_stopped_says_so_and_ends_well() {
    let scene = Scene::happy();
    let mut child = started(scene.command(&["serve", "--listen", "127.0.0.1:0"]));
    let (url, _rest) = first_line(&mut child);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    interrupt(&child);
    let ended = ended(child);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("stopping") && said.contains("account main"), "{said}");
    // Its clock runs faster than that of scripts which are no part of a simulation.
    assert!(said.contains("passes after 3.0 s by its own clock"), "{said}");
}

#[test]
fn what_came_of_each_job_is_told_to_whoever_wants_more_of_the_log() {
    let scene = Scene::happy();
    let (child, address) = serving_with(&scene, &["-v", "--capacity", "1"]);
    let key = crate::bench::KEY;
    let job = "method=userrecaptcha&googlekey=6Le-good&pageurl=https://a.example/";
    let submit = format!("/in.php?key={key}&{job}");
    let id = ask(&address, &submit).strip_prefix("OK|").expect("accepted").to_owned();
    assert_eq!(ask(&address, &submit), "ERROR_NO_SLOT_AVAILABLE");
    assert_eq!(ask(&address, "/in.php?key=x&method=y"), "ERROR_WRONG_USER_KEY");
    let question = format!("/res.php?key={key}&action=get&id={id}");
    let mut answer = ask(&address, &question);
    while answer == "CAPCHA_NOT_READY" {
        answer = ask(&address, &question);
    }
    let said = said(child);
    for line in [
        format!("accepted task={id} is_new=true"),
        "refused said=\"ERROR_NO_SLOT_AVAILABLE\"".to_owned(),
        "a key is not accepted said=\"ERROR_WRONG_USER_KEY\"".to_owned(),
        format!("ended task={id} state=\"solved\""),
        format!("told task={id} said=\"answer\""),
    ] {
        assert!(said.contains(&line), "{line} is not in\n{said}");
    }
    let token = answer.strip_prefix("OK|").expect("solved");
    assert!(!said.contains(key) && !said.contains(token), "{said}");
}

/// Takes one post on this machine, and answers it with that status; what was posted.
fn taken(listener: &TcpListener, status: u16) -> String {
    let (mut line, _) = listener.accept().expect("a post");
    let mut got = Vec::new();
    let mut piece = [0; 4_096];
    // A pingback is small, and comes in one or two pieces.
    while !String::from_utf8_lossy(&got).contains("&code=") {
        let n = line.read(&mut piece).expect("more of it");
        got.extend_from_slice(&piece[..n]);
    }
    let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    line.write_all(reply.as_bytes()).expect("answered");
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn a_pingback_is_posted_until_it_is_taken_and_show_tells_of_it_without_its_secrets() {
    let scene = Scene::happy();
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let place = receiver.local_addr().expect("bound").to_string();
    let url = format!("http%3A%2F%2F{place}%2Fdone%3Fsecret%3Dhunter2");
    let job = "method=userrecaptcha&googlekey=6Le-good&pageurl=https://a.example/";
    let submit = format!("/in.php?key={}&{job}&pingback={url}", crate::bench::KEY);
    let (child, address) = serving_with(&scene, &[]);
    assert_eq!(ask(&address, &submit), "ERROR_BAD_PARAMETERS", "this machine is not allowed");
    said(child);
    let (child, address) = serving_with(&scene, &["--allow-deliveries", "127.0.0.1"]);
    let id = ask(&address, &submit).strip_prefix("OK|").expect("accepted").to_owned();
    let refused = taken(&receiver, 503);
    let post = taken(&receiver, 200);
    assert!(post.contains("POST /done?secret=hunter2") && post.contains(&format!("id={id}&code=")));
    let same =
        |post: &str| post.lines().find(|line| line.starts_with("webhook-id")).map(str::to_owned);
    assert!(same(&post).is_some() && same(&post) == same(&refused));
    let shown = || lines(&scene.run(&["show", &id])).remove(0)["deliveries"][0].clone();
    while shown()["state"] != "delivered" {
        std::thread::yield_now();
    }
    let told = shown();
    assert_eq!((&told["place"], &told["tells"]), (&place.into(), &"solved".into()));
    assert_eq!((&told["tries"], &told["said"]), (&2.into(), &"answered with 200".into()));
    let export = scene.run(&["export", "*"]).stdout;
    let talk = said(child);
    for text in [export, talk, told.to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
