//! A small raw HTTP client: what it sees on the wire is not hidden by any library.

use std::io;

use deadletter_sim::{DEFAULT_KEY, Simulator};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back over one connection that the server was asked to close.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Bytes that the head announced.
    pub(crate) announced: Option<usize>,
}

impl Heard {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The field `request` as text.
    pub(crate) fn request(&self) -> String {
        match &self.json()["request"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Sends these bytes and reads to the end of the connection.
pub(crate) async fn exchange(sim: &Simulator, bytes: &[u8]) -> io::Result<Heard> {
    let mut stream = TcpStream::connect(("127.0.0.1", sim.port())).await?;
    stream.write_all(bytes).await?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await?;
    let text = String::from_utf8_lossy(&heard).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let announced = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse().ok()
    });
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Heard { status, head: head.to_owned(), body: body.to_owned(), announced })
}

pub(crate) fn get_bytes(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n").into_bytes()
}

pub(crate) fn post_bytes(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\
         content-type: {content_type}\r\ncontent-length: {len}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) async fn get(sim: &Simulator, path: &str) -> Heard {
    exchange(sim, &get_bytes(path)).await.expect("an answer")
}

pub(crate) async fn post(sim: &Simulator, path: &str, form: &str) -> Heard {
    let bytes = post_bytes(path, "application/x-www-form-urlencoded", form.as_bytes());
    exchange(sim, &bytes).await.expect("an answer")
}

/// The form of a complete submit for this page.
pub(crate) fn form(page: &str) -> String {
    format!("key={DEFAULT_KEY}&method=userrecaptcha&googlekey=6LeSIMKEY&pageurl={page}&json=1")
}

pub(crate) async fn submit(sim: &Simulator, page: &str) -> Heard {
    post(sim, "/in.php", &form(page)).await
}

/// Submits, and returns the id.
pub(crate) async fn submit_id(sim: &Simulator, page: &str) -> String {
    let heard = submit(sim, page).await;
    assert_eq!(heard.json()["status"], 1, "{heard:?}");
    heard.request()
}

pub(crate) fn poll_path(id: &str) -> String {
    format!("/res.php?key={DEFAULT_KEY}&action=get&id={id}&json=1")
}

pub(crate) async fn poll(sim: &Simulator, id: &str) -> Heard {
    get(sim, &poll_path(id)).await
}
