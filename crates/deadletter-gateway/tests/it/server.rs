//! The port itself: whom it answers, what it takes, how it ends.

use crate::rig::{KEY, World};
use deadletter_sim::Scenario;
use std::time::Duration;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_of_somebody_else_is_not_served() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.allowed_hosts = vec!["Solver.internal".to_owned()];
    })
    .await;
    for (host, is_served) in [
        ("localhost", true),
        ("LOCALHOST:8402", true),
        ("127.0.0.1:1", true),
        ("[::1]:8402", true),
        ("solver.internal", true),
        ("solver.internal:8402", true),
        ("evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("localhost.evil.example:8402", false),
        ("10.0.0.1", false),
        ("", false),
    ] {
        let request = format!(
            "GET /res.php?key={KEY}&action=get&id=1 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        );
        let reply = world.raw(request.as_bytes()).await.expect("a reply");
        assert_eq!(reply.status == 200, is_served, "{host}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_and_nothing_of_it_is_kept() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.body_bytes = 10_000;
    })
    .await;
    let body = vec![b'x'; 10_001];
    assert_eq!(world.post("/in.php", "", &body).await.status, 413);
    let chunked = [
        b"POST /in.php HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2711\r\n",
        &body[..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    assert!(world.raw(&chunked).await.is_none_or(|reply| reply.status == 413));
    assert_eq!(world.store.totals().await.unwrap().accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_end_its_request_is_let_go() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.head = Duration::from_millis(200);
        settings.limits.body = Duration::from_millis(200);
    })
    .await;
    for (begun, is_let_go) in [
        ("", ""),
        ("GET /res.php HTTP/1.1\r\nhost: local", ""),
        ("POST /in.php HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nkey=", "408"),
    ] {
        let mut stream = TcpStream::connect(world.address()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        timeout(Duration::from_secs(20), reading).await.expect("it hangs").ok();
        assert!(answer.contains(is_let_go), "{begun:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_answered_when_the_gateway_stops() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let head = "POST /in.php HTTP/1.1\r\nhost: localhost\r\ncontent-length: 40\r\n\
                expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The gateway has the request's head, and asks for its body.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert!(asked.starts_with(b"HTTP/1.1 100"), "{asked:?}");
    let (address, stopping) = (world.address(), tokio::spawn(world.gateway.stop()));
    // Nobody new is let in from some moment on.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all("x".repeat(40).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("ERROR_WRONG_USER_KEY"), "{answer}");
    timeout(Duration::from_secs(20), stopping).await.expect("it hangs").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_refused_without_keys() {
    let world = World::start().await;
    let settings = deadletter_gateway::Settings::new("0.0.0.0:0".parse().unwrap());
    let askers = deadletter_gateway::Askers::new(Some(KEY.into()));
    let gateway = deadletter_gateway::Gateway::new(world.engine.clone(), askers, settings);
    let refused = deadletter_gateway::serve(std::sync::Arc::new(gateway)).await;
    assert!(matches!(refused, Err(deadletter_gateway::ServeError::Open(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_lives_and_that_its_store_answers() {
    let world = World::start().await;
    assert_eq!(world.get("/healthz").await.body, "ok\n");
    assert_eq!(world.get("/readyz").await.body, "ready\n");
    world.store.close().await.unwrap();
    assert_eq!(world.get("/readyz").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_replies_is_let_go() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.write = Duration::from_millis(300);
    })
    .await;
    let ids = vec!["1"; 100].join(",");
    let request =
        format!("GET /res.php?key={KEY}&action=get&ids={ids} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    // Requests without end, whose replies nobody reads: the gateway stops taking them.
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(Duration::from_secs(20), flood).await.expect("it is borne for ever");
}
