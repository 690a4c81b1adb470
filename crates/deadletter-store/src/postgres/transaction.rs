//! One call, one short transaction: load, decide, write.
//!
//! ```text
//!   client                                                server
//!   BEGIN, settings, its number │ the call's questions ──▶  locks, rows         1st round trip
//!   the call decides            ◀── number, rows
//!   its writes │ mark │ pulse │ COMMIT ─────────────────▶  written, durable     2nd round trip
//!   answers                     ◀── done
//! ```
//!
//! All that a transaction needs goes out with it, and it leaves nothing in the session, so it runs
//! through a pooler that gives each transaction another connection.
//!
//! A commit that is not answered is looked up until the server says what became of it ([`super::fate`]);
//! it is never guessed and never sent again before that.

use super::{
    connect::Connection,
    failure::{Failure, Outcome, Verdict, told},
    fate::{self, Mark},
    pool::{Lease, Pool},
    statement::Statement,
};
use crate::{Error, Result};
use deadletter_core::UnixMs;
use futures_util::{
    FutureExt,
    future::{join, try_join_all},
};
use std::{future::Future, time::Duration};
use tokio_postgres::{Row, SimpleQueryMessage, error::SqlState};

/// Tries of one call that meets others, or whose connection is gone: with the waits between them
/// some two seconds, far longer than others hold their locks.
const TRIES: u32 = 8;
/// The first wait; each next one is twice as long.
const WAIT: Duration = Duration::from_millis(8);
/// A process that is frozen in the middle of a transaction loses its locks after 3 s, before its
/// worker is declared dead; a statement that waits longer than 20 s for others is given up.
///
/// Every question names its few rows by an index. Where the server's statistics lag behind, as they
/// do while a table grows, it would walk the table all the same, which holds up everybody: so it is
/// told not to, and not to compile what runs for a millisecond, or to start processes for it. Nor may
/// it go by a bitmap, which steps over entries of rows that are gone, and leaves them to be stepped over
/// again. What it takes for a table without rows it would walk by an index: [`super::bulk::same`].
const LIMITS: &str = "SET LOCAL idle_in_transaction_session_timeout = 3000; \
     SET LOCAL statement_timeout = 20000; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; \
     SET LOCAL max_parallel_workers_per_gather = 0";
const PULSE: &str = "INSERT INTO pulses (slot, n) VALUES ($1, 1) \
     ON CONFLICT (slot) DO UPDATE SET n = pulses.n + 1";

/// What a call has decided.
pub(super) struct Work<T> {
    answer: T,
    writes: Vec<Statement>,
    /// True where anything is written.
    has_written: bool,
    /// True where others should look.
    is_news: bool,
}

impl<T> Work<T> {
    /// Writes, if there are any, and answers.
    pub(super) const fn of(answer: T, writes: Vec<Statement>) -> Self {
        let has_written = !writes.is_empty();
        Self { answer, writes, has_written, is_news: has_written }
    }

    /// What was asked has written already.
    pub(super) const fn done(answer: T) -> Self {
        Self { answer, writes: Vec::new(), has_written: true, is_news: true }
    }

    /// The same, and it concerns nobody else.
    pub(super) const fn quiet(answer: T) -> Self {
        Self { answer, writes: Vec::new(), has_written: true, is_news: false }
    }
}

/// A transaction that is open, as a call sees it.
#[derive(Clone)]
pub(super) struct Transaction {
    connection: Connection,
    /// Which of the rows of a counter it writes.
    pub(super) slot: i16,
    /// Store time at its begin.
    pub(super) now: UnixMs,
}

impl Transaction {
    /// Asks one question; what is asked at the same time goes out together.
    pub(super) async fn read(&self, statement: &Statement) -> Outcome<Vec<Row>> {
        self.connection.ask(statement).await
    }

    /// Asks several questions in one round trip.
    pub(super) async fn read_all(&self, statements: &[Statement]) -> Outcome<Vec<Vec<Row>>> {
        try_join_all(statements.iter().map(|statement| self.read(statement))).await
    }
}

/// The texts that begin transactions in one schema.
pub(super) struct Begin {
    write: String,
    read: String,
    /// How a mark is asked for.
    mark: String,
    /// True where all see one instant, as long as somebody keeps it.
    is_of_snapshot: bool,
}

impl Begin {
    /// The same, but all see the snapshot with that id, and nobody writes.
    pub(super) fn in_snapshot(schema: &str, id: &str) -> Self {
        let read = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{id}'; \
             SET LOCAL search_path = \"{schema}\"; {LIMITS}"
        );
        Self { write: read.clone(), read, mark: fate::question(schema), is_of_snapshot: true }
    }

    /// What a failure means here: a snapshot is gone with the connection that kept it.
    fn explain(&self, failure: Failure) -> Failure {
        let Failure::Sql(error) = &failure else { return failure };
        // invalid_parameter_value, object_not_in_prerequisite_state, undefined_object: which of them
        // depends on the server's version, and on how far that connection has ended.
        let is_gone = |code: &SqlState| matches!(code.code(), "22023" | "55000" | "42704");
        if !(self.is_of_snapshot && error.code().is_some_and(is_gone)) {
            return failure;
        }
        let what = "read a snapshot, whose connection has ended; begin again".to_owned();
        Error::Unavailable { what, source: Some(told(error).into()) }.into()
    }

    /// For a schema with this name, in which nothing needs to be escaped.
    pub(super) fn in_schema(schema: &str) -> Self {
        let local = format!("SET LOCAL search_path = \"{schema}\"; {LIMITS}");
        Self {
            write: format!("BEGIN ISOLATION LEVEL READ COMMITTED; {local}; SELECT txid_current()"),
            read: format!("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; {local}"),
            mark: fate::question(schema),
            is_of_snapshot: false,
        }
    }
}

/// Why a try came to nothing.
enum Stop {
    /// Nothing is written, and the same may succeed at once.
    Again(Failure),
    /// It will not.
    For(Error),
}

/// The tries of one call.
struct Tries {
    what: &'static str,
    made: u32,
    wait: Duration,
}

impl Tries {
    const fn of(what: &'static str) -> Self {
        Self { what, made: 0, wait: WAIT }
    }

    /// Waits for the next try, if there is one.
    async fn next(&mut self, stop: Stop, slot: i16) -> Result<()> {
        let failure = match stop {
            Stop::For(error) => return Err(error),
            Stop::Again(failure) => failure,
        };
        self.made += 1;
        if self.made == TRIES {
            return Err(failure.into_error(self.what));
        }
        tracing::debug!(
            what = self.what,
            tries = self.made,
            why = failure.reason(),
            "a transaction is tried again"
        );
        // Two that met go on at different times: their connections are not the same.
        let apart = self.wait * u32::from(slot.unsigned_abs()) / 8;
        tokio::time::sleep(self.wait + apart).await;
        self.wait *= 2;
        Ok(())
    }
}

impl Pool {
    /// Runs a call that writes. `call` may run again where its transaction met another one.
    ///
    /// Errors: those of the call, `Unavailable`, `InDoubt`, and what else the server says.
    pub(super) async fn transact<T, F, R>(
        &self,
        what: &'static str,
        (begin, now): (&Begin, UnixMs),
        call: F,
    ) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        let mut tries = Tries::of(what);
        loop {
            let lease = self.lend(what).await?;
            let slot = lease.slot;
            match self.try_transact(what, lease, (begin, now), &call).await {
                Ok(answer) => return Ok(answer),
                Err(stop) => tries.next(stop, slot).await?,
            }
        }
    }

    async fn try_transact<T, F, R>(
        &self,
        what: &'static str,
        lease: Lease<'_>,
        (begin, now): (&Begin, UnixMs),
        call: &F,
    ) -> Result<T, Stop>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        let (number, work) = match load(&lease, &begin.write, now, call).await {
            Ok((Some(number), work)) => (number, work),
            Ok((None, _)) => return Err(undo(what, lease, Failure::Silence).await),
            Err(failure) => return Err(undo(what, lease, failure).await),
        };
        let mark = Mark { connection: lease.own, number };
        let Err(failure) = write(&lease, &work, mark.left(now)).await else {
            lease.give_back();
            return Ok(work.answer);
        };
        if failure.verdict() != Verdict::Lost {
            return Err(undo(what, lease, failure).await);
        }
        // Its connection is of no use any more, and what it did is known to the server alone.
        let _place = lease.hang_up();
        let fate =
            if work.has_written { self.fate_of(mark, &begin.mark).await } else { Some(false) };
        match fate {
            Some(true) => Ok(work.answer),
            Some(false) => Err(after(what, failure)),
            None => Err(Stop::For(failure.into_doubt(what))),
        }
    }

    /// Runs a call that only reads: in one round trip, where it asks its questions together.
    pub(super) async fn look<T, F, R>(
        &self,
        what: &'static str,
        (begin, now): (&Begin, UnixMs),
        call: F,
    ) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<T>>,
    {
        let mut tries = Tries::of(what);
        loop {
            let lease = self.lend(what).await?;
            let slot = lease.slot;
            let stop = match load(&lease, &begin.read, now, &call).await {
                Ok((_, answer)) => {
                    // Sent and not waited for: nothing hangs on it, and what comes next on this
                    // connection comes behind it.
                    drop(lease.run("COMMIT").now_or_never());
                    lease.give_back();
                    return Ok(answer);
                }
                Err(failure) => undo(what, lease, begin.explain(failure)).await,
            };
            tries.next(stop, slot).await?;
        }
    }
}

/// Begins, and lets the call ask and decide; answers the transaction's number, where it has one.
async fn load<T, F, R>(
    connection: &Connection,
    begin: &str,
    now: UnixMs,
    call: &F,
) -> Outcome<(Option<i64>, T)>
where
    F: Fn(Transaction) -> R,
    R: Future<Output = Outcome<T>>,
{
    let transaction = Transaction { connection: connection.clone(), slot: connection.slot, now };
    let (begun, called) = join(connection.run(begin), call(transaction)).await;
    Ok((number_of(&begun?), called?))
}

/// Sends what was decided, and the commit behind it.
async fn write<T>(connection: &Connection, work: &Work<T>, mark: Statement) -> Outcome<()> {
    let mark = work.has_written.then_some(&mark);
    let pulse = Statement::new(PULSE).put(connection.slot);
    let pulse = work.is_news.then_some(&pulse);
    let writes = || work.writes.iter().chain(mark).chain(pulse);
    // All of it goes, or nothing: what stays here is refused by nobody there.
    writes().try_for_each(Statement::refuse_unsendable)?;
    let writes = writes().map(|write| connection.ask(write));
    let (written, committed) = join(try_join_all(writes), connection.run("COMMIT")).await;
    // A transaction in which a write was refused is undone by its commit, without an error.
    written?;
    committed.map(drop)
}

/// Ends a transaction of which nothing is committed, and keeps the connection where it still
/// answers.
async fn undo(what: &'static str, lease: Lease<'_>, failure: Failure) -> Stop {
    if failure.verdict() != Verdict::Lost && lease.run("ROLLBACK").await.is_ok() {
        lease.give_back();
    }
    after(what, failure)
}

/// What follows from a failure by which nothing was written.
fn after(what: &str, failure: Failure) -> Stop {
    match failure.verdict() {
        Verdict::Refused => Stop::For(failure.into_error(what)),
        // Who did not answer in half a minute is not asked eight times.
        _ if matches!(failure, Failure::Silence) => Stop::For(failure.into_error(what)),
        Verdict::Collided | Verdict::Lost => Stop::Again(failure),
    }
}

/// The number that `txid_current` has answered.
fn number_of(messages: &[SimpleQueryMessage]) -> Option<i64> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use std::sync::Arc;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_postgres::{
        Config, NoTls,
        types::{IsNull, ToSql, Type, to_sql_checked},
    };

    /// A value that no server can be sent.
    #[derive(Debug)]
    struct Unsendable;

    impl ToSql for Unsendable {
        fn to_sql(
            &self,
            _: &Type,
            _: &mut BytesMut,
        ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
            Err("it is too long".into())
        }

        fn accepts(_: &Type) -> bool {
            true
        }

        to_sql_checked!();
    }

    impl super::super::statement::Typed for Unsendable {
        const TYPE: Type = Type::TEXT;
    }

    /// Lets one client in, hangs up on a commit, and hands back all that was said.
    async fn listen(listener: TcpListener) -> Vec<u8> {
        let (mut line, _) = listener.accept().await.unwrap();
        let len = line.read_u32().await.unwrap();
        let mut hello = vec![0; len as usize - 4];
        line.read_exact(&mut hello).await.unwrap();
        // AuthenticationOk and ReadyForQuery.
        line.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
        let mut said = Vec::new();
        while line.read_buf(&mut said).await.unwrap() > 0 {
            if said.windows(6).any(|word| word == b"COMMIT") {
                break;
            }
        }
        said
    }

    #[tokio::test]
    async fn where_a_value_cannot_be_sent_nothing_is_committed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening = tokio::spawn(listen(listener));
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("me");
        let (client, line) = config.connect(NoTls).await.unwrap();
        let line = tokio::spawn(line);
        let connection = Connection { client: Arc::new(client), own: 7, slot: 0 };
        let first = Statement::new("INSERT 1").put(1_i64);
        let work = Work::of((), vec![first, Statement::new("INSERT 2").put(Unsendable)]);
        let failure = write(&connection, &work, Statement::new("INSERT 3")).await.unwrap_err();
        assert!(failure.reason().contains("it is too long"), "{}", failure.reason());
        drop(connection);
        drop(line);
        let said = String::from_utf8_lossy(&listening.await.unwrap()).into_owned();
        assert!(!said.contains("INSERT") && !said.contains("COMMIT"), "{said:?}");
    }
}
