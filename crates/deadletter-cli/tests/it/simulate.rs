//! `simulate`: a server that runs until it is stopped.

use crate::bench::{Bench, first_line, interrupt, started};
use std::{io::Read, io::Write, net::TcpStream};

#[test]
fn it_answers_until_ctrl_c_and_then_ends_well() {
    let bench = Bench::new();
    let mut child =
        started(bench.command(&["simulate", "--scenario", "happy", "--json", "--speed", "20x"]));
    let (line, _out) = first_line(&mut child);
    let facts: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(facts["speed"], 20.0);
    let endpoint = facts["submit_endpoint"].as_str().expect("a URL");
    let address = endpoint.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/in.php"));
    let mut line = TcpStream::connect(address.expect("host and port")).expect("it listens");
    let request =
        "GET /res.php?key=none&action=getbalance HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    line.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    line.read_to_string(&mut answer).expect("answered");
    assert!(answer.contains("ERROR_"), "{answer}");
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 requests"));
}

#[test]
fn a_pipe_gets_the_lines_that_point_a_program_at_it() {
    let bench = Bench::new();
    let mut child = started(bench.command(&["simulate"]));
    let (line, mut out) = first_line(&mut child);
    assert!(line.starts_with("export CAPTCHAAI_SUBMIT_ENDPOINT=http://127.0.0.1:"), "{line}");
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the rest");
    assert!(rest.starts_with("export CAPTCHAAI_RESULT_ENDPOINT=http://127.0.0.1:"), "{rest}");
    child.wait().expect("it ends");
}

#[test]
fn the_names_are_listed_and_a_slip_is_answered_with_the_nearest() {
    let bench = Bench::new();
    let ran = bench.run(&["simulate", "--list"]);
    assert_eq!(ran.stdout.lines().count(), 11);
    let slip = bench.run(&["simulate", "--scenario", "outtage"]);
    assert_eq!(slip.code, 2);
    assert!(slip.stderr.contains("did you mean outage?"), "{}", slip.stderr);
}

#[test]
fn a_broken_scenario_file_names_its_line() {
    let bench = Bench::new();
    bench.write("mine.toml", "seed = 1\ntreads = 3\n");
    let ran = bench.run(&["simulate", "--scenario", "mine.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("treads"), "{}", ran.stderr);
}
