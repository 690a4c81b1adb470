//! A client that keeps its connections: it writes a request, reads the whole reply, and goes on.

use crate::store::rate::{Rate, Timing, elapsed_ms};
use anyhow::{Context, Result, ensure};
use deadletter_store::clock::Stopwatch;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// How much is asked, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// Of all connections together.
    pub(super) requests: usize,
    /// Between two requests of one connection; none asks as fast as it is answered.
    pub(super) pace: Option<Duration>,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Went {
    pub(super) rate: Rate,
    /// The time within which 99 of 100 replies came.
    pub(super) p99_ms: f64,
}

impl Load {
    /// Asks at that address, each connection with the requests in turn from a place of its own.
    pub(super) async fn put_on(self, at: SocketAddr, requests: &Arc<[String]>) -> Result<Went> {
        let each = self.requests / self.connections;
        let timing = Timing::start(each * self.connections);
        let mut connections = JoinSet::new();
        for n in 0..self.connections {
            let requests = Arc::clone(requests);
            connections
                .spawn(async move { converse(at, &requests, n * 31, each, self.pace).await });
        }
        let mut times_ms = Vec::with_capacity(self.requests);
        while let Some(ended) = connections.join_next().await {
            times_ms.extend(ended??);
        }
        let rate = timing.end();
        times_ms.sort_by(f64::total_cmp);
        let p99_ms =
            times_ms.get(times_ms.len() * 99 / 100).copied().context("nothing was asked")?;
        Ok(Went { rate, p99_ms })
    }
}

async fn converse(
    at: SocketAddr,
    requests: &[String],
    from: usize,
    count: usize,
    pace: Option<Duration>,
) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let mut ticks = pace.map(interval);
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    }
    let (mut times_ms, mut buffer) = (Vec::with_capacity(count), Vec::with_capacity(4_096));
    for request in requests.iter().cycle().skip(from).take(count) {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let watch = Stopwatch::start();
        stream.write_all(request.as_bytes()).await?;
        read_reply(&mut stream, &mut buffer).await?;
        times_ms.push(elapsed_ms(&watch));
    }
    Ok(times_ms)
}

/// Reads one reply, whose length its head tells, and checks that it is good.
async fn read_reply(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if let Some(end) = end_of_reply(buffer)?
            && buffer.len() >= end
        {
            ensure!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(buffer));
            return Ok(());
        }
        ensure!(stream.read_buf(buffer).await? > 0, "the server has hung up");
    }
}

/// Where the reply ends, once its head is there.
fn end_of_reply(buffer: &[u8]) -> Result<Option<usize>> {
    let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(buffer.get(..at).unwrap_or_default()).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("a reply without a length")?.trim().parse()?;
    let body = buffer.get(at + 4..).unwrap_or_default();
    ensure!(!body.starts_with(b"ERROR"), "refused: {}", String::from_utf8_lossy(body));
    Ok(Some(at + 4 + length))
}
