//! Bad company: connections that never end their request, and a flood of submits that are refused.

use anyhow::Result;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// The head of a request that never comes to its end.
const BEGUN: &[u8] = b"GET /res.php HTTP/1.1\r\nhost: local";

/// Opens as many connections, each with a request that was begun; they end with what is returned.
pub(super) async fn crowd(at: SocketAddr, size: usize) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(size);
    for _ in 0..size {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(BEGUN).await?;
        held.push(stream);
    }
    Ok(held)
}

/// Submits over as many connections, as fast as each is refused; ends with what is returned.
pub(super) fn flood(at: SocketAddr, job: &Arc<[String]>, connections: usize) -> JoinSet<()> {
    let mut flood = JoinSet::new();
    for _ in 0..connections {
        let job = Arc::clone(job);
        // Ends when the set is dropped, or when the gateway has had enough.
        flood.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(at).await else { return };
            let mut reply = [0; 4_096];
            for request in job.iter().cycle() {
                let sent = stream.write_all(request.as_bytes()).await;
                // A refusal is short, and comes in one piece.
                if sent.is_err() || !stream.read(&mut reply).await.is_ok_and(|bytes| bytes > 0) {
                    return;
                }
            }
        });
    }
    flood
}
