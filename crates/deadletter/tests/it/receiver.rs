//! A receiver of deliveries on 127.0.0.1, which answers as a test wants it to.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a post is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// That status.
    Status(u16),
    /// A redirect to that URL.
    Redirect(String),
    /// Nothing, and the connection stays open.
    Hang,
}

/// A post that came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// Path and query.
    pub(crate) target: String,
    /// `webhook-id`.
    pub(crate) id: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Post {
    /// The fields of a form.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

/// Takes posts.
pub(crate) struct Receiver {
    address: SocketAddr,
    posts: watch::Receiver<Vec<Post>>,
    answer: Arc<Mutex<Answer>>,
}

impl Receiver {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, posts) = watch::channel(Vec::new());
        let answer = Arc::new(Mutex::new(answer));
        let (sender, saying) = (Arc::new(sender), Arc::clone(&answer));
        // Ends with the test's runtime, as each connection does.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&sender), Arc::clone(&saying)));
            }
        });
        Self { address, posts, answer }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// As it is stored and shown.
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("whole") = answer;
    }

    /// The posts that came so far.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.borrow().clone()
    }

    /// The first `n` posts, once they have come.
    pub(crate) async fn first(&self, n: usize) -> Vec<Post> {
        let mut posts = self.posts.clone();
        let came = crate::rig::soon(posts.wait_for(|posts| posts.len() >= n)).await;
        came.expect("the receiver is there")[..n].to_vec()
    }
}

async fn take(
    mut stream: TcpStream,
    posts: Arc<watch::Sender<Vec<Post>>>,
    answer: Arc<Mutex<Answer>>,
) {
    let Some(post) = read(&mut stream).await else { return };
    posts.send_modify(|posts| posts.push(post));
    let answer = answer.lock().expect("whole").clone();
    let reply = match answer {
        Answer::Status(status) => {
            format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        Answer::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        Answer::Hang => return std::future::pending().await,
    };
    // Whoever posted may be gone.
    drop(stream.write_all(reply.as_bytes()).await);
}

async fn read(stream: &mut TcpStream) -> Option<Post> {
    let mut got = Vec::new();
    loop {
        if stream.read_buf(&mut got).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&got).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let field = |name: &str| {
            let line = head.lines().find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            });
            line.unwrap_or_default()
        };
        if body.len() < field("content-length").parse().unwrap_or(0) {
            continue;
        }
        assert!(head.starts_with("POST "), "{head}");
        return Some(Post {
            target: head.split(' ').nth(1).unwrap_or_default().to_owned(),
            id: field("webhook-id"),
            content_type: field("content-type"),
            body: body.to_owned(),
        });
    }
}
