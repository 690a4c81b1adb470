//! A peer that plays a script of bytes on each connection: what no honest server would do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// One step on a connection.
pub(super) enum Act {
    /// Reads one whole request.
    Read,
    /// Writes bytes.
    Write(Vec<u8>),
    /// Writes one byte now and then, for ever.
    Drip(u8),
    /// Stays silent until the other side ends the connection.
    Wait,
    /// Goes on when the test says so.
    Until(oneshot::Receiver<()>),
    /// Ends the connection with a reset instead of an end of stream.
    Reset,
}

/// Listens until dropped. Connection n plays script n, then ends; later ones are reset.
pub(super) struct Peer {
    pub(super) base: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// Connections whose script has been played.
    played: watch::Receiver<usize>,
    /// Ends with the peer; it owns the connections' scripts too.
    server: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Peer {
    pub(super) async fn playing(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::default();
        let (count, played) = watch::channel(0);
        let server = tokio::spawn(serve(listener, scripts.into(), Arc::clone(&requests), count));
        Self { base, requests, played, server }
    }

    /// A peer that answers each request on a connection of its own.
    pub(super) async fn answering(answers: &[String]) -> Self {
        let script = |answer: &String| vec![Act::Read, Act::Write(answer.clone().into_bytes())];
        Self::playing(answers.iter().map(script).collect()).await
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) async fn until_played(&self, connections: usize) {
        self.played.clone().wait_for(|played| *played >= connections).await.unwrap();
    }
}

/// An answer with its length; the connection stays open as far as HTTP is concerned.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn serve(
    listener: TcpListener,
    mut scripts: VecDeque<Vec<Act>>,
    requests: Arc<Mutex<Vec<String>>>,
    played: watch::Sender<usize>,
) {
    let mut playing = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let script = scripts.pop_front().unwrap_or_else(|| vec![Act::Reset]);
        let (requests, played) = (Arc::clone(&requests), played.clone());
        playing.spawn(async move {
            play(stream, script, &requests).await;
            played.send_modify(|played| *played += 1);
        });
    }
}

async fn play(mut stream: TcpStream, script: Vec<Act>, requests: &Mutex<Vec<String>>) {
    for act in script {
        match act {
            Act::Read => {
                let request = read_request(&mut stream).await;
                requests.lock().unwrap().push(request);
            }
            // The other side may have gone: then there is nobody left to play for.
            Act::Write(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::Drip(byte) => {
                while stream.write_all(&[byte]).await.is_ok() {
                    // tidy: allow sleep, because this peer is the slow one.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            Act::Wait => while stream.read_u8().await.is_ok() {},
            Act::Until(signal) => signal.await.unwrap(),
            Act::Reset => stream.set_zero_linger().unwrap(),
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}
