//! `serve` as a process: it works only where it serves, and says how it ends.

use crate::{
    bench::{ended, first_line, interrupt, ran, started},
    upstream::Scene,
};
use std::net::TcpListener;

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
}
