//! What the disk does with the same records and nothing else: the other side of every ratio.
//!
//! ```text
//! alone:   write the record, flush, next
//! shared:  callers --channel--> thread: all that waits in one write, one flush --answers--> callers
//! ```

use crate::store::rate::{Rate, Timing};
use anyhow::{Context, Result};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot};

/// Records that one flush of the shared log takes: as many as the store's writer.
const BATCH_LIMIT: usize = 1_024;

/// A record, as it is appended.
pub(crate) type Record = Arc<[u8]>;

/// A file that is appended to; its length grows with each record, as any log's does.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| format!("cannot create {}", path.display()))?))
    }

    /// Appends each record and flushes it before the next (`fdatasync`).
    pub(crate) fn append_each(&mut self, records: &[Record]) -> Result<Rate> {
        let timing = Timing::start(records.len());
        for record in records {
            self.0.write_all(record)?;
            self.0.sync_data()?;
        }
        Ok(timing.end())
    }

    /// Appends the records from `callers` tasks, which share their flushes.
    pub(crate) async fn append_shared(&self, records: &[Record], callers: usize) -> Result<Rate> {
        let (sender, receiver) = mpsc::channel(BATCH_LIMIT);
        let file = self.0.try_clone()?;
        // It ends when the last caller has.
        let flusher = std::thread::spawn(move || flush_shared(file, receiver));
        let timing = Timing::start(records.len());
        let mut running = tokio::task::JoinSet::new();
        for records in records.chunks(records.len().div_ceil(callers).max(1)) {
            running.spawn(append_all(sender.clone(), records.to_vec()));
        }
        drop(sender);
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        let rate = timing.end();
        let flushed = flusher.join().map_err(|_| anyhow::anyhow!("the flusher panicked"))?;
        flushed.map(|()| rate)
    }
}

type Waiting = (Record, oneshot::Sender<()>);

async fn append_all(sender: mpsc::Sender<Waiting>, records: Vec<Record>) -> Result<()> {
    for record in records {
        let (reply, answer) = oneshot::channel();
        sender.send((record, reply)).await.context("the flusher is gone")?;
        answer.await.context("the flusher did not answer")?;
    }
    Ok(())
}

fn flush_shared(mut file: File, mut receiver: mpsc::Receiver<Waiting>) -> Result<()> {
    let mut bytes = Vec::new();
    let mut replies = Vec::new();
    while let Some((record, reply)) = receiver.blocking_recv() {
        bytes.clear();
        bytes.extend_from_slice(&record);
        replies.push(reply);
        while replies.len() < BATCH_LIMIT
            && let Ok((record, reply)) = receiver.try_recv()
        {
            bytes.extend_from_slice(&record);
            replies.push(reply);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        for reply in replies.drain(..) {
            reply.send(()).ok();
        }
    }
    Ok(())
}
