//! The line: what can break, and whether the request may have left.

use super::peer::{Act, Peer, answer};
use super::*;
use deadletter::core::Cause;
use futures_util::future::join_all;

fn written(text: &str) -> Act {
    Act::Write(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_refused_connection_is_proven_unsent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (sent, failure) = doubted(submit(&patient(&base), &recaptcha()).await);
    assert_eq!((sent, brief(&failure)), (Sent::No, (Cause::NETWORK, Class::Transient, None)));
    assert!(failure.detail.contains("refused"), "{}", failure.detail);
}

#[tokio::test]
async fn a_tls_failure_is_proven_unsent() {
    let peer = Peer::playing(vec![vec![written("no TLS here, sorry\r\n"), Act::Wait]]).await;
    let provider = patient(&peer.base.replace("http://", "https://"));
    let (sent, failure) = doubted(submit(&provider, &recaptcha()).await);
    assert_eq!((sent, failure.cause.as_str()), (Sent::No, Cause::NETWORK));
    assert!(failure.detail.contains("could not connect"), "{}", failure.detail);
}

#[tokio::test]
async fn a_silent_tls_handshake_is_a_connect_time_out_and_unsent() {
    let peer = Peer::playing(vec![vec![Act::Wait]]).await;
    let provider = CaptchaAi::new(Settings {
        connect_timeout: Duration::from_millis(200),
        submit_timeout: Duration::from_secs(3_600),
        ..settings(&peer.base.replace("http://", "https://"))
    })
    .unwrap();
    let fields = recaptcha();
    let bounded = tokio::time::timeout(Duration::from_secs(60), submit(&provider, &fields));
    let (sent, failure) = doubted(bounded.await.unwrap());
    assert_eq!(sent, Sent::No);
    assert!(failure.detail.contains("time-out"), "{}", failure.detail);
}

#[tokio::test]
async fn after_the_request_was_handed_over_every_failure_is_maybe_sent() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{\"status\":1,";
    let cases = [
        ("end of stream", vec![Act::Read]),
        ("reset", vec![Act::Read, Act::Reset]),
        ("half a head", vec![Act::Read, written("HTTP/1.1 200 OK\r\nConte")]),
        ("half a body", vec![Act::Read, written(head)]),
        ("half a body, then reset", vec![Act::Read, written(head), Act::Reset]),
        ("silence", vec![Act::Read, Act::Wait]),
        ("silence before reading", vec![Act::Wait]),
        ("a slow drip", vec![Act::Read, written(head), Act::Drip(b' ')]),
    ];
    join_all(cases.into_iter().map(|(what, script)| async move {
        let peer = Peer::playing(vec![script]).await;
        let (sent, failure) = doubted(submit(&hasty(&peer.base), &recaptcha()).await);
        assert_eq!((sent, failure.cause.as_str()), (Sent::Maybe, Cause::NETWORK), "{what}");
        assert_eq!(failure.class, Class::Transient, "{what}");
        assert!(peer.requests().len() <= 1, "{what}: sent again");
    }))
    .await;
}

#[tokio::test]
async fn on_a_poll_a_broken_line_is_no_verdict() {
    for script in [vec![Act::Read, Act::Reset], vec![Act::Read, Act::Wait], vec![Act::Reset]] {
        let peer = Peer::playing(vec![script]).await;
        let failure = unasked(poll(&hasty(&peer.base)).await);
        assert_eq!(brief(&failure), (Cause::NETWORK, Class::Transient, None));
    }
}

#[tokio::test]
async fn what_is_no_http_or_too_long_is_unreadable() {
    let long = "Content-Length: 8000000\r\n\r\n";
    for bytes in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{long}{}", "x".repeat(5_000_000)),
    ] {
        let peer = Peer::playing(vec![vec![Act::Read, Act::Write(bytes.into_bytes())]]).await;
        let (sent, failure) = doubted(submit(&patient(&peer.base), &recaptcha()).await);
        assert_eq!((sent, failure.cause.as_str()), (Sent::Maybe, Cause::UNREADABLE));
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let listener = Peer::answering(&[answer(200, "", "OK|1")]).await;
    let to = format!("Location: {}/in.php\r\n", listener.base);
    for status in [301, 302, 307, 308] {
        let peer = Peer::answering(&[answer(status, &to, "OK|2")]).await;
        let (sent, failure) = doubted(submit(&patient(&peer.base), &recaptcha()).await);
        assert_eq!((sent, failure.cause.as_str()), (Sent::Maybe, Cause::UNREADABLE), "{status}");
    }
    assert!(listener.requests().is_empty());
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let pending = answer(200, "", "CAPCHA_NOT_READY").into_bytes();
    let twice = vec![Act::Read, Act::Write(pending.clone()), Act::Read, Act::Write(pending)];
    let peer = Peer::playing(vec![twice]).await;
    let provider = patient(&peer.base);
    assert!(matches!(poll(&provider).await, Ok(Polled::NotReady)));
    assert!(matches!(poll(&provider).await, Ok(Polled::NotReady)));
}

#[tokio::test]
async fn an_idle_connection_that_the_peer_has_closed_is_not_used_again() {
    // Both say keep-alive and close all the same, as servers do whose idle time is over.
    let (close, closing) = tokio::sync::oneshot::channel();
    let first = vec![Act::Read, written(&answer(200, "", "OK|1")), Act::Until(closing)];
    let second = vec![Act::Read, written(&answer(200, "", "OK|2"))];
    let peer = Peer::playing(vec![first, second]).await;
    let provider = patient(&peer.base);
    assert_eq!(submit(&provider, &recaptcha()).await.unwrap().as_str(), "1");
    close.send(()).unwrap();
    peer.until_played(1).await;
    assert_eq!(submit(&provider, &recaptcha()).await.unwrap().as_str(), "2");
}

#[tokio::test]
async fn a_reused_connection_that_dies_under_a_submit_is_in_doubt_and_not_tried_again() {
    let first = answer(200, "", "OK|1").into_bytes();
    let dying = vec![Act::Read, Act::Write(first), Act::Read, Act::Reset];
    let peer = Peer::playing(vec![dying, vec![Act::Read]]).await;
    let provider = patient(&peer.base);
    submit(&provider, &recaptcha()).await.unwrap();
    let (sent, _) = doubted(submit(&provider, &recaptcha()).await);
    assert_eq!((sent, peer.requests().len()), (Sent::Maybe, 2));
}

#[tokio::test]
async fn a_request_that_finds_no_free_connection_in_time_is_unsent() {
    let peer = Peer::playing(vec![vec![Act::Read, Act::Wait]]).await;
    let provider = CaptchaAi::new(Settings {
        connections: 1,
        submit_timeout: Duration::from_millis(200),
        poll_timeout: Duration::from_secs(60),
        ..settings(&peer.base)
    })
    .unwrap();
    let (line, fields) = (poll(&provider), recaptcha());
    let waiting = submit(&provider, &fields);
    // The poll holds the only connection, and is given up once the submit has its answer.
    let result = tokio::select! {
        biased;
        _ = line => panic!("the peer is silent"),
        result = waiting => result,
    };
    let (sent, failure) = doubted(result);
    assert_eq!(sent, Sent::No);
    assert!(failure.detail.contains("no free connection"), "{}", failure.detail);
}

#[tokio::test]
async fn requests_look_as_the_protocol_wants_them() {
    let yes = answer(200, "", "OK|1");
    let peer = Peer::answering(&[yes.clone(), yes]).await;
    let provider = patient(&peer.base);
    submit(&provider, &recaptcha()).await.unwrap();
    poll(&provider).await.unwrap();
    let requests = peer.requests();
    let host = peer.base.trim_start_matches("http://");
    let (submit, poll) = (&requests[0], &requests[1]);
    for line in [
        "POST /in.php HTTP/1.1",
        &format!("host: {host}"),
        "accept-encoding: identity",
        "content-type: application/x-www-form-urlencoded",
        &format!(
            "key={KEY}&json=1&method=userrecaptcha&googlekey=6Le-site&pageurl=https%3A%2F%2Fa.example%2Fx"
        ),
    ] {
        assert!(submit.lines().any(|found| found == line), "{line} is not in {submit}");
    }
    let asked = format!("GET /res.php?key={KEY}&action=get&id=74372499131&json=1 HTTP/1.1");
    assert_eq!(poll.lines().next(), Some(asked.as_str()));
}

#[tokio::test]
async fn an_oversized_submit_is_refused_without_being_sent() {
    let peer = Peer::playing(Vec::new()).await;
    let fields = json!({"method": "base64", "body": "A".repeat(17 << 20)});
    let failure = refused(submit(&patient(&peer.base), &fields).await);
    assert_eq!(brief(&failure), ("REQUEST_TOO_LARGE", Class::Permanent, None));
    assert!(peer.requests().is_empty());
}
