//! What the courier dials, and what it tells of it.
//!
//! Nothing here dials anything but loopback: names have the addresses that a test gives them.

use super::{
    Courier, Guard, Handover, Parcel, Refused,
    dial::{CONNECT_TIMEOUT, Names},
};
use crate::provider::Sent;
use async_trait::async_trait;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

fn guard(allowed: &str) -> Guard {
    allowed.parse().expect("networks")
}

/// Answers each look-up with the next of its answers.
#[derive(Default)]
struct InTurn {
    /// Guards what is answered next.
    answers: Mutex<VecDeque<Vec<SocketAddr>>>,
}

#[async_trait]
impl Names for InTurn {
    async fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(answers.pop_front().unwrap_or_default())
    }
}

fn courier(allowed: &str, answers: &[&[SocketAddr]]) -> Courier {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    Courier::asking(guard(allowed), Arc::new(InTurn { answers: Mutex::new(answers) }))
}

/// Answers each connection once with these bytes; tells what it was sent.
struct Receiver {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Receiver {
    async fn answering(ip: &str, answer: &'static str) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, requests) = mpsc::channel(16);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut got = Vec::new();
                while !is_whole(&got) && stream.read_buf(&mut got).await.is_ok_and(|n| n > 0) {}
                sender.send(String::from_utf8_lossy(&got).into_owned()).await.expect("heard");
                if answer.is_empty() {
                    // Keeps the connection, and says nothing.
                    std::future::pending::<()>().await;
                }
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { address, requests }
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/done?of=1#here", self.address.port())
    }
}

/// True where the body is as long as the head says.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    length.is_none_or(|length| body.len() >= length.parse().unwrap_or(0))
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn form() -> Parcel {
    Parcel::Form("id=7&code=x%20y".to_owned())
}

#[tokio::test]
async fn a_post_is_one_plain_request() {
    let mut receiver = Receiver::answering("127.0.0.1", NO_CONTENT).await;
    let courier = Courier::new(guard("127.0.0.1"));
    let delivered = Handover::Delivered { status: 204 };
    assert_eq!(courier.post(&receiver.url("127.0.0.1"), "1-2", form()).await, delivered);
    let port = receiver.address.port();
    let expected = format!(
        "POST /done?of=1 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: deadletter/{}\r\n\
         accept: */*\r\naccept-encoding: identity\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         webhook-id: 1-2\r\nconnection: close\r\ncontent-length: 15\r\n\r\nid=7&code=x%20y",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(receiver.requests.recv().await, Some(expected));
    let json = Parcel::Json("{\"id\":7}".to_owned());
    assert_eq!(courier.post(&receiver.url("localhost"), "1-2", json).await, delivered);
    let second = receiver.requests.recv().await.expect("sent");
    assert!(second.contains("application/json\r\n") && second.ends_with("{\"id\":7}"), "{second}");
}

#[tokio::test]
async fn a_name_that_turns_to_loopback_after_the_check_is_refused_at_the_dial() {
    let mut receiver = Receiver::answering("127.0.0.1", NO_CONTENT).await;
    let port = receiver.address.port();
    let public = SocketAddr::new("93.184.215.14".parse().expect("an address"), port);
    let url = receiver.url("rebinding.example");
    let names = InTurn { answers: Mutex::new([vec![public], vec![receiver.address]].into()) };
    // The check on sight: of the URL, and of what its name leads to at that moment.
    assert_eq!(Guard::default().check(&url), Ok(()));
    let seen = names.look_up("rebinding.example", port).await.expect("answered");
    assert!(seen.iter().all(|address| Guard::default().allows(address.ip()).is_ok()));
    let courier = Courier::asking(Guard::default(), Arc::new(names));
    let refused = courier.post(&url, "1-2", form()).await;
    let Handover::Refused(why) = refused else { panic!("{refused:?}") };
    assert_eq!(why.to_string(), "127.0.0.1 is loopback");
    assert!(receiver.requests.try_recv().is_err(), "it was dialled");
}

#[tokio::test]
async fn each_try_is_judged_anew_on_a_connection_of_its_own() {
    let mut good = Receiver::answering("127.0.0.2", NO_CONTENT).await;
    let bad = SocketAddr::new("127.0.0.1".parse().expect("an address"), good.address.port());
    let courier = courier("127.0.0.2", &[&[good.address], &[bad], &[good.address]]);
    let url = good.url("turning.example");
    let delivered = Handover::Delivered { status: 204 };
    assert_eq!(courier.post(&url, "1-2", form()).await, delivered);
    let second = courier.post(&url, "1-2", form()).await;
    assert!(matches!(second, Handover::Refused(Refused::Address { .. })), "{second:?}");
    assert_eq!(courier.post(&url, "1-2", form()).await, delivered);
    assert!(good.requests.recv().await.is_some() && good.requests.recv().await.is_some());
    assert!(good.requests.try_recv().is_err(), "a refused post was sent");
}

#[tokio::test]
async fn of_several_addresses_only_allowed_ones_are_dialled() {
    let mut loopback = Receiver::answering("127.0.0.1", NO_CONTENT).await;
    let mut good = Receiver::answering("127.0.0.2", NO_CONTENT).await;
    let port = good.address.port();
    let private = SocketAddr::new("10.0.0.1".parse().expect("an address"), port);
    let answer = [loopback.address, private, good.address];
    let sent = courier("127.0.0.2", &[&answer]).post(&good.url("two.example"), "1-2", form()).await;
    assert_eq!(sent, Handover::Delivered { status: 204 });
    assert!(good.requests.recv().await.is_some());
    assert!(loopback.requests.try_recv().is_err());
    let none = courier("", &[&answer]).post(&good.url("none.example"), "1-2", form()).await;
    assert!(matches!(none, Handover::Refused(_)), "{none:?}");
    let empty = courier("", &[&[]]).post(&good.url("empty.example"), "1-2", form()).await;
    let Handover::Failed { sent: Sent::No, what } = empty else { panic!("{empty:?}") };
    assert!(what.contains("no address"), "{what}");
}

#[tokio::test]
async fn an_address_in_the_url_is_judged_at_the_dial_although_no_name_is_looked_up() {
    // The guard of the look and that of the dial differ here alone, to see the second at work.
    let mut receiver = Receiver::answering("127.0.0.1", NO_CONTENT).await;
    let strict = courier("", &[]);
    let courier = Courier { guard: Arc::new(guard("127.0.0.1")), ..strict };
    for host in ["127.0.0.1", "0x7f.1"] {
        let refused = courier.post(&receiver.url(host), "1-2", form()).await;
        assert!(matches!(refused, Handover::Refused(_)), "{host}: {refused:?}");
    }
    assert!(receiver.requests.try_recv().is_err(), "it was dialled");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let target = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let mut receiver = Receiver::answering("127.0.0.1", target).await;
    let courier = Courier::new(guard("127.0.0.1"));
    let answered = courier.post(&receiver.url("127.0.0.1"), "1-2", form()).await;
    assert_eq!(answered, Handover::Answered { status: 307 });
    assert!(receiver.requests.recv().await.is_some() && receiver.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_failure_says_whether_bytes_left() {
    let courier = Courier::new(guard("127.0.0.1"));
    // Nobody listens any more.
    let gone = Receiver::answering("127.0.0.2", "").await;
    let url = format!("http://127.0.0.1:{}/secret?token=secret", gone.address.port());
    let Handover::Failed { sent, what } = courier.post(&url, "1-2", form()).await else {
        panic!("nobody listens")
    };
    assert_eq!(sent, Sent::No);
    assert!(what.contains("127.0.0.1") && !what.contains("secret"), "{what}");
    // Not HTTP at all.
    let receiver = Receiver::answering("127.0.0.1", "220 mail.example ESMTP\r\n").await;
    let failed = courier.post(&receiver.url("127.0.0.1"), "1-2", form()).await;
    assert!(matches!(failed, Handover::Failed { sent: Sent::Maybe, .. }), "{failed:?}");
    // Ends before there is TLS: nothing of the post has left.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("https://{}/", listener.local_addr().expect("bound"));
    let ending = async { drop(listener.accept().await) };
    let (failed, ()) = tokio::join!(courier.post(&url, "1-2", form()), ending);
    assert!(matches!(failed, Handover::Failed { sent: Sent::No, .. }), "{failed:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_an_answer() {
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let receiver = Receiver::answering("127.0.0.1", endless).await;
    let courier = Courier::new(guard("127.0.0.1"));
    let answered = courier.post(&receiver.url("127.0.0.1"), "1-2", form()).await;
    assert_eq!(answered, Handover::Delivered { status: 200 });
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_left_after_ten_seconds() {
    let mut receiver = Receiver::answering("127.0.0.1", "").await;
    let url = receiver.url("127.0.0.1");
    let courier = Courier::new(guard("127.0.0.1"));
    let post = tokio::spawn(async move { courier.post(&url, "1-2", form()).await });
    assert!(receiver.requests.recv().await.is_some());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    let Handover::Failed { sent, what } = post.await.expect("ends") else { panic!("silence") };
    assert_eq!(sent, Sent::Maybe);
    assert!(what.ends_with("within 10s"), "{what}");
}

#[test]
fn an_address_that_is_silent_leaves_time_for_another() {
    assert!(CONNECT_TIMEOUT * 2 < Duration::from_secs(10));
}
