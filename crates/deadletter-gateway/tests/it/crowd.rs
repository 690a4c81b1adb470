//! Crowds of bad clients: those who hold 2,000 connections and do not end their requests, or do not
//! take their replies, and those who flood; others are answered meanwhile.

use crate::rig::{JOB, KEY, World};
use deadletter_sim::{OutageMode, Scenario};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

/// Connections of a crowd.
const CROWD: usize = 2_000;
/// File descriptors that both ends of a crowd need, and all else.
const DESCRIPTORS: u64 = 2 * CROWD as u64 + 500;
/// Nothing takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a bad client is borne here: well within the time that its crowd takes to come.
const BORNE: Duration = Duration::from_secs(3);

/// The process may open as many files as a crowd needs.
fn make_room() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    let raised = rustix::process::Rlimit {
        current: Some(limit.current.map_or(wanted, |now| now.max(wanted))),
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
        .expect("within the limit");
}

async fn patient() -> World {
    World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.head = BORNE;
        settings.limits.body = BORNE;
        settings.limits.write = BORNE;
    })
    .await
}

/// As many connections, each of which has sent `begun`.
async fn crowd(address: SocketAddr, begun: &[u8]) -> Vec<TcpStream> {
    let mut coming = JoinSet::new();
    for _ in 0..CROWD {
        let begun = begun.to_vec();
        coming.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(&begun).await.ok();
            stream
        });
    }
    timeout(PATIENCE, coming.join_all()).await.expect("a crowd is kept out")
}

/// Answered, however long it takes.
async fn is_served(world: &World) {
    let id = timeout(PATIENCE, world.submit()).await.expect("nobody else is served");
    // Time runs fast here, so that the task may have died meanwhile.
    assert!(!world.verdict(&id, "").await.body.is_empty());
}

/// Each of them is let go.
async fn all_are_let_go(crowd: Vec<TcpStream>) {
    let mut going = JoinSet::new();
    for mut stream in crowd {
        going.spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok() });
    }
    timeout(PATIENCE, going.join_all()).await.expect("somebody is borne for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_does_not_end_its_requests_keeps_nobody_from_being_served() {
    make_room();
    let world = patient().await;
    for begun in [
        "GET /res.php HTTP/1.1\r\nhost: local",
        "POST /in.php HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\nkey=",
        "POST /in.php HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\nk\r\n",
    ] {
        let crowd = crowd(world.address(), begun.as_bytes()).await;
        is_served(&world).await;
        all_are_let_go(crowd).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_takes_no_replies_keeps_nobody_from_being_served() {
    make_room();
    let world = patient().await;
    let ids = vec!["x"; 100].join(",");
    let question =
        format!("GET /res.php?key={KEY}&action=get&ids={ids} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let crowd = crowd(world.address(), question.repeat(20).as_bytes()).await;
    is_served(&world).await;
    all_are_let_go(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_holds_too_many_connections_keeps_no_other_out() {
    make_room();
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.connections = 300;
        settings.limits.connections_of_one = 200;
        // Nobody is let go for being slow.
        settings.limits.head = PATIENCE * 2;
    })
    .await;
    let mut crowd = crowd(world.address(), b"GET /res.php HTTP/1.1\r\n").await;
    // Of one address, all above its share are closed; the last ones, whose places are taken.
    let closed = async {
        let mut byte = [0];
        while let Some(stream) = crowd.last_mut() {
            if stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                panic!("an answer to half a question");
            }
            if crowd.len() == CROWD - 100 {
                return;
            }
            crowd.pop();
        }
    };
    timeout(PATIENCE, closed).await.expect("they are borne");
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut other = other.connect(world.address()).await.unwrap();
    let question = format!(
        "GET /res.php?key={KEY}&action=get&id=1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    );
    other.write_all(question.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, other.read_to_string(&mut answer)).await.expect("it is kept out").unwrap();
    assert!(answer.ends_with("ERROR_WRONG_CAPTCHA_ID"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_an_end_are_cut_and_hold_a_bounded_memory() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.body = PATIENCE;
        settings.limits.body_bytes = 1 << 20;
        settings.limits.bodies_bytes = 4 << 20;
    })
    .await;
    let head = "POST /in.php HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    let mut flood = JoinSet::new();
    for _ in 0..50 {
        let (address, chunk) = (world.address(), chunk.clone());
        flood.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(head.as_bytes()).await.ok();
            while stream.write_all(&chunk).await.is_ok() {}
        });
    }
    timeout(PATIENCE, flood.join_all()).await.expect("a body without an end is taken");
    assert_eq!(world.store.totals().await.unwrap().accepted, 0);
    is_served(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_ten_times_the_capacity_stores_no_more_and_others_are_answered() {
    let capacity = 60;
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.capacity = capacity;
        // Time runs fast here, and refusals take theirs: nothing makes room by dying meanwhile.
        settings.deadline_ms = 86_400_000;
    })
    .await;
    let before = world.submit().await;
    world.verdict(&before, "").await;
    world.sim.outage(OutageMode::Refuse);
    let mut flood = JoinSet::new();
    for _ in 0..20 {
        let address = world.address();
        flood.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let submit = format!("GET /in.php?key={KEY}&{JOB} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            let last = submit.replace("host:", "connection: close\r\nhost:");
            let all = [submit.repeat(29), last].concat();
            let (mut reader, mut writer) = stream.split();
            let mut answers = String::new();
            let (sent, read) =
                tokio::join!(writer.write_all(all.as_bytes()), reader.read_to_string(&mut answers));
            sent.and(read.map(|_| ())).expect("every submit is answered");
            let count = |word: &str| answers.matches(word).count() as u64;
            (count("\r\n\r\nOK|"), count("ERROR_NO_SLOT_AVAILABLE"))
        });
    }
    // In the middle of it a question is answered, with the answer that stands in the store.
    assert!(world.verdict(&before, "").await.body.starts_with("OK|"));
    let told = timeout(PATIENCE, flood.join_all()).await.expect("it is answered");
    let (taken, refused) = told.iter().fold((0, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1));
    assert_eq!(taken + refused, 600);
    assert!((1..=capacity).contains(&taken), "{taken}");
    let accepted = world.store.totals().await.unwrap().accepted;
    assert_eq!(accepted, i64::try_from(taken).unwrap() + 1, "an acceptance that nobody was told");
}
