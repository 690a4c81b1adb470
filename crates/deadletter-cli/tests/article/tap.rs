//! A wire tap: passes bytes on to an upstream and keeps the forms that were sent to in.php.
//!
//! The simulator logs what its rules need; a test that compares every parameter looks here.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinHandle,
};

/// Bytes kept of one connection: a handful of submits.
const MOST_BYTES: usize = 1 << 20;

/// What clients sent, one string of bytes per connection; the lock guards all of them.
type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

/// A listening tap; it ends when it is dropped.
pub(crate) struct Tap {
    port: u16,
    sent: Kept,
    acceptor: JoinHandle<()>,
}

impl Tap {
    /// A tap on the line to that port.
    pub(crate) async fn on(upstream_port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let sent = Kept::default();
        let kept = Arc::clone(&sent);
        // Ended by `Drop`; the connections end with their peers.
        let acceptor = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", upstream_port)).await else {
                    continue;
                };
                let index = {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let (from_client, to_client) = client.into_split();
                let (from_upstream, to_upstream) = upstream.into_split();
                tokio::spawn(pass_on(from_client, to_upstream, Some((Arc::clone(&kept), index))));
                tokio::spawn(pass_on(from_upstream, to_client, None));
            }
        });
        Ok(Self { port, sent, acceptor })
    }

    /// Where clients go instead of to the upstream.
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The forms of all submits, in the order of connections.
    pub(crate) fn submits(&self) -> Vec<BTreeMap<String, String>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().flat_map(|bytes| forms(&String::from_utf8_lossy(bytes))).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, keep: Option<(Kept, usize)>) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut chunk).await {
        if n == 0 {
            break;
        }
        if let Some((kept, index)) = &keep {
            let kept = &mut kept.lock().unwrap_or_else(PoisonError::into_inner)[*index];
            assert!(kept.len() + n <= MOST_BYTES, "more than a tap keeps");
            kept.extend_from_slice(&chunk[..n]);
        }
        if to.write_all(&chunk[..n]).await.is_err() {
            break;
        }
    }
}

/// The bodies of the requests to in.php on one connection.
fn forms(mut text: &str) -> Vec<BTreeMap<String, String>> {
    let mut forms = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let len = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        });
        let (body, next) = rest.split_at(len.unwrap_or(0));
        if head.starts_with("POST /in.php ") {
            forms.push(form_urlencoded::parse(body.as_bytes()).into_owned().collect());
        }
        text = next;
    }
    forms
}
