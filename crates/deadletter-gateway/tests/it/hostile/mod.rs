//! Requests that no honest client sends, byte by byte, each with its verdict: nothing panics, nobody
//! unknown is let in, and nothing that was refused leaves a task.

mod bodies;
mod framing;
mod heads;

use crate::rig::{JOB, KEY, World};
use deadletter_sim::Scenario;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What a request is answered: nothing where the connection is closed without a word; else each reply
/// by its status and, for a word of the protocol, that word, joined by bars.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// Any of them: whether a refusal still reaches a client that sends on is up to the network.
    verdicts: &'static [&'static str],
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, verdicts: &'static [&'static str]) -> Case {
    Case { name, bytes: bytes.into(), verdicts }
}

/// A POST of a body, whose length is told.
fn post(kind: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST /in.php HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A POST with these headers and that body.
fn framed(headers: &str, body: &str) -> String {
    format!("POST /res.php HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// A submit that would be paid for, hidden in something else.
fn hidden() -> String {
    get(&format!("/in.php?key={KEY}&{JOB}"))
}

/// Everything that comes back, as [`Case::verdicts`] has it.
async fn sent(world: &World, bytes: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(world.address()).await.expect("it listens");
    let (mut reader, mut writer) = stream.split();
    // It may refuse before it has read everything: both ways at once.
    let mut answer = Vec::new();
    let reading = async { reader.read_to_end(&mut answer).await.ok() };
    let talk = async { tokio::join!(async { writer.write_all(bytes).await.ok() }, reading) };
    timeout(Duration::from_secs(60), talk).await.expect("it hangs");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let mut verdicts = Vec::new();
    let mut rest = text.as_str();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse::<usize>().expect("a number"));
        let (body, next) = after.split_at(length.min(after.len()));
        let status = head.split(' ').nth(1).unwrap_or("no status");
        verdicts.push(if status == "200" { format!("200 {body}") } else { status.to_owned() });
        rest = next;
    }
    (verdicts.join(" | "), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_get_their_verdict_and_leave_nothing() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        // What is sent and never ended must end.
        settings.limits.head = Duration::from_secs(1);
        settings.limits.body = Duration::from_secs(1);
    })
    .await;
    let cases: Vec<_> = [
        framing::lengths(),
        framing::chunks(),
        heads::lines(),
        heads::targets(),
        bodies::forms(),
        bodies::json(),
        bodies::multiparts(),
        bodies::family(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 40);
    let mut wrong = Vec::new();
    for some in cases.chunks(40) {
        let sending = some.iter().map(|case| sent(&world, &case.bytes));
        for (case, (verdict, text)) in
            some.iter().zip(futures_util::future::join_all(sending).await)
        {
            if !case.verdicts.contains(&verdict.as_str()) {
                wrong.push(format!("{}: {verdict:?}, not {:?}", case.name, case.verdicts));
            }
            assert!(!text.to_ascii_lowercase().contains("set-cookie"), "{}: {text}", case.name);
            assert!(!text.contains(KEY), "{}: {text}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.store.totals().await.unwrap().accepted, 0, "a refused one left a task");
    let id = world.submit().await;
    assert!(world.verdict(&id, "").await.body.starts_with("OK|"), "others are served as before");
}
