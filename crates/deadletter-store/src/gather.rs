//! Calls that come at the same time share one of the server's transactions.
//!
//! ```text
//! insert, insert, insert ──▶ channel ──▶ some loops: all that waits ──▶ one transaction ──▶ answers
//! ```
//!
//! A server has a price for each transaction, its flush first of all, and callers come one by one:
//! a gateway has one task at a time from each of its clients. While a transaction is under way, what
//! comes waits, and goes together with the next one. A call that comes alone goes at once.

use crate::{Error, Result};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Calls that wait at most; callers beyond it wait for room.
const QUEUE: usize = 1_024;
/// Bytes of a transaction, unless one item has more: it stays short for those who wait for it.
const BYTES: usize = 1_024 * 1_024;

/// A server, and how its transactions are best shared.
pub(crate) trait Gathers: Send + Sync + 'static {
    /// Transactions of one kind at once.
    const LOOPS: usize;
    /// Items of a transaction, unless one call has more.
    const ITEMS: usize;
}

/// What calls of one kind do with their items, in order, one answer each.
#[async_trait]
pub(crate) trait Batch: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Answer: Send + Sync + 'static;
    /// What makes them.
    type Server: Gathers;

    /// About how many bytes go out with an item.
    fn bytes(item: &Self::Item) -> usize;

    /// Makes them, all or none.
    async fn run(server: &Arc<Self::Server>, items: &[Self::Item]) -> Result<Vec<Self::Answer>>;
}

/// Where calls of one kind go.
pub(crate) struct Gather<B: Batch>(mpsc::Sender<Call<B>>);

struct Call<B: Batch> {
    items: Vec<B::Item>,
    reply: oneshot::Sender<Result<Vec<B::Answer>>>,
}

/// What the loops share: whoever holds it takes what waits.
type Waiting<B> = Arc<Mutex<mpsc::Receiver<Call<B>>>>;

impl<B: Batch> Gather<B> {
    /// Starts the loops. They end when this is dropped, behind the last call.
    pub(crate) fn start(server: &Arc<B::Server>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let waiting: Waiting<B> = Arc::new(Mutex::new(receiver));
        for _ in 0..B::Server::LOOPS {
            tokio::spawn(run(Arc::clone(server), Arc::clone(&waiting)));
        }
        Self(sender)
    }

    /// Makes a call, together with others. It is made even where its caller goes away.
    pub(crate) async fn call(&self, items: Vec<B::Item>) -> Result<Vec<B::Answer>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Call { items, reply }).await.map_err(|_| Error::Closed)?;
        // A loop that is gone without an answer has gone with the runtime.
        answer.await.map_err(|_| Error::Closed)?
    }
}

async fn run<B: Batch>(server: Arc<B::Server>, waiting: Waiting<B>) {
    loop {
        let mut calls = next(&mut *waiting.lock().await).await;
        let mut items = Vec::new();
        let mut taken = Vec::with_capacity(calls.len());
        for call in &mut calls {
            let from = items.len();
            items.append(&mut call.items);
            taken.push(from..items.len());
        }
        if calls.is_empty() {
            return;
        }
        match B::run(&server, &items).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for (call, range) in calls.into_iter().zip(taken) {
                    // Whoever asked may be gone; the call is made all the same.
                    call.reply.send(Ok(answers.by_ref().take(range.len()).collect())).ok();
                }
            }
            Err(error) => refuse(&server, error, calls, &items, taken).await,
        }
    }
}

/// The first call, as soon as there is one, and what waits behind it; nothing at the end.
async fn next<B: Batch>(waiting: &mut mpsc::Receiver<Call<B>>) -> Vec<Call<B>> {
    let mut calls = Vec::from_iter(waiting.recv().await);
    let (mut items, mut bytes) = (0, 0);
    while let Some(last) = calls.last() {
        items += last.items.len();
        bytes += last.items.iter().map(B::bytes).sum::<usize>();
        if items >= B::Server::ITEMS || bytes >= BYTES {
            break;
        }
        let Ok(call) = waiting.try_recv() else { break };
        calls.push(call);
    }
    calls
}

/// Answers calls whose transaction has failed: all alike where that is nobody's fault, each by
/// itself where one of them may be the reason.
async fn refuse<B: Batch>(
    server: &Arc<B::Server>,
    error: Error,
    calls: Vec<Call<B>>,
    items: &[B::Item],
    taken: Vec<std::ops::Range<usize>>,
) {
    let is_alone = calls.len() == 1;
    let mut error = Some(error);
    for (call, range) in calls.into_iter().zip(taken) {
        let answer = match error.as_ref().and_then(same) {
            Some(same) => Err(same),
            None if is_alone => Err(error.take().unwrap_or(Error::Closed)),
            None => B::run(server, items.get(range).unwrap_or_default()).await,
        };
        call.reply.send(answer).ok();
    }
}

/// The error once more, where it is about the server and not about what was sent.
fn same(error: &Error) -> Option<Error> {
    let told = |source: &Option<Box<dyn std::error::Error + Send + Sync>>| {
        source.as_ref().map(|source| source.to_string().into())
    };
    match error {
        Error::Closed => Some(Error::Closed),
        Error::Unavailable { what, source } => {
            Some(Error::Unavailable { what: what.clone(), source: told(source) })
        }
        Error::InDoubt { what, source } => {
            Some(Error::InDoubt { what: what.clone(), source: told(source) })
        }
        Error::Full { what, source } => {
            Some(Error::Full { what: what.clone(), source: told(source) })
        }
        Error::ReadOnly { what, source } => {
            Some(Error::ReadOnly { what: what.clone(), source: told(source) })
        }
        _ => None,
    }
}
