//! The connection of a handle: made anew when it is lost, and led to where the keys are.

use super::{
    apply, connect,
    failure::{Failure, Outcome, Verdict},
    info::Info,
    ready, turn,
    url::{Place, Target},
};
use crate::Result;
use redis::{Cmd, FromRedisValue, Pipeline, Value, aio::MultiplexedConnection};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// Nodes of a cluster that are kept in mind: enough to find it again when some are gone.
const PLACES: usize = 64;

/// Scripts that a server is taught at the begin of a connection, by their hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scripts {
    pub(super) apply: String,
    pub(super) ready: String,
    pub(super) turn: String,
}

/// A connection, and which of the handle's it is.
#[derive(Clone)]
pub(super) struct Line {
    connection: MultiplexedConnection,
    /// From 1.
    n: u64,
    pub(super) scripts: Scripts,
    /// Which run of which server it leads to.
    pub(super) run: Arc<str>,
}

impl Line {
    pub(super) const fn n(&self) -> u64 {
        self.n
    }

    /// Asks all at once; one answer each, in order.
    pub(super) async fn ask(&mut self, questions: &Pipeline) -> Outcome<Vec<Value>> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let count = questions.len();
        let answers = self.connection.send_packed_commands(questions, 0, count).await?;
        // An error that stands among the answers is an error.
        Ok(answers.into_iter().map(Value::extract_error).collect::<Result<_, _>>()?)
    }

    /// Asks one question.
    pub(super) async fn ask_one<T: FromRedisValue>(&mut self, question: &Cmd) -> Outcome<T> {
        connect::ask(&mut self.connection, question).await
    }
}

/// The line that is in use, and where the next one may lead.
pub(super) struct Lines {
    target: Target,
    tls: Option<TlsConnector>,
    /// Guards what is in use; held by whoever connects, so that all others wait for it.
    current: Mutex<Current>,
}

struct Current {
    line: Option<Line>,
    /// Lines so far.
    n: u64,
    /// Where to connect, the best first.
    places: Vec<Place>,
}

impl Lines {
    /// None made yet. Errors: `BadUrl`.
    pub(super) fn to(target: Target) -> Result<Self> {
        let tls = connect::encryption(&target)?;
        let current = Current { line: None, n: 0, places: vec![target.place.clone()] };
        Ok(Self { target, tls, current: Mutex::new(current) })
    }

    /// The line in use; a new one where there is none.
    pub(super) async fn line(&self) -> Outcome<Line> {
        let mut current = self.current.lock().await;
        match &current.line {
            Some(line) => Ok(line.clone()),
            None => Ok(self.connect(&mut current).await?.0),
        }
    }

    /// A new line, and what the server says of itself.
    pub(super) async fn open(&self) -> Outcome<(Line, Info)> {
        self.connect(&mut *self.current.lock().await).await
    }

    async fn connect(&self, current: &mut Current) -> Outcome<(Line, Info)> {
        let mut last = None;
        for place in current.places.clone() {
            let connected = match connect::connect(&self.target, self.tls.as_ref(), &place).await {
                Ok(connected) => connected,
                // One that was the master may be a replica now, and another one has taken its place.
                Err(failure) => {
                    last = Some(failure);
                    continue;
                }
            };
            let mut connection = connected.connection;
            let scripts = Scripts {
                apply: teach(&mut connection, apply::SCRIPT).await?,
                ready: teach(&mut connection, ready::SCRIPT).await?,
                turn: teach(&mut connection, turn::SCRIPT).await?,
            };
            current.n += 1;
            current.places = known(connected.place, connected.others, &self.target.place);
            let run = connected.info.run().into();
            let line = Line { connection, n: current.n, scripts, run };
            current.line = Some(line.clone());
            return Ok((line, connected.info));
        }
        Err(last.unwrap_or_else(|| Failure::Lost("no server is known".to_owned())))
    }

    /// Does for a failure on `line` what can be done at once; answers whether the same may succeed
    /// then, with or without a wait.
    pub(super) async fn mend(&self, line: &Line, verdict: Verdict) -> Mended {
        let mut current = self.current.lock().await;
        let is_in_use = current.line.as_ref().is_some_and(|in_use| in_use.n == line.n);
        match verdict {
            Verdict::Refuse => return Mended::Never,
            Verdict::Wait => return Mended::Later,
            // Somebody else has seen to it.
            _ if !is_in_use => return Mended::Now,
            Verdict::Reconnect | Verdict::Teach => current.line = None,
            Verdict::GoTo(place) => {
                current.line = None;
                if let Some(place) = Place::parse(&place) {
                    current.places.insert(0, place);
                    current.places.truncate(PLACES);
                }
            }
        }
        Mended::Now
    }

    /// Lets go of the line.
    pub(super) async fn close(&self) {
        self.current.lock().await.line = None;
    }
}

/// What became of a line that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// Another one may be made.
    Now,
    /// It takes a while.
    Later,
    /// It is not the line that is in the way.
    Never,
}

/// Places to connect to, without repeating one: where we are, the others, where the URL leads.
fn known(here: Place, others: Vec<Place>, named: &Place) -> Vec<Place> {
    let mut places = vec![here];
    for place in others.into_iter().chain([named.clone()]) {
        if !places.contains(&place) && places.len() < PLACES {
            places.push(place);
        }
    }
    places
}

async fn teach(connection: &mut MultiplexedConnection, script: &str) -> Outcome<String> {
    let lesson = redis::cmd("SCRIPT").arg("LOAD").arg(script).take();
    connect::ask(connection, &lesson).await
}
