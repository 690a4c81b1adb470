//! Clients as scripts are: they submit to a gateway by HTTP, ask for their answer, and go to the
//! other gateway where one does not answer.

use deadletter::core::TaskId;
use deadletter::store::clock::Stopwatch;
use deadletter_sim::DEFAULT_KEY;
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::mpsc::Sender;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

/// A gateway that is frozen takes a connection and never answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where nothing was answered, nobody asks for so long, as behind a balancer that looks whether
/// gateways are well.
const SHUNNED_US: u64 = 5_000_000;
/// Between two questions: a tenth of what scripts wait, for the clocks run ten times as fast.
const GAP: Duration = Duration::from_millis(400);
/// A job that has no answer by then has none.
const LONGEST_JOB: Duration = Duration::from_secs(120);

/// A job that was answered.
pub(super) struct Solved {
    pub(super) page: String,
    pub(super) task: TaskId,
    pub(super) answer: String,
    /// When it was read, in microseconds of the fleet.
    pub(super) at_us: u64,
}

/// A gateway, as a client knows it.
pub(super) struct Door {
    address: String,
    /// When it did not answer, in microseconds of the fleet.
    failed_us: Option<u64>,
}

impl Door {
    /// A gateway at that host and port.
    pub(super) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), failed_us: None }
    }
}

/// One client: a job at a time until it is told to end.
pub(super) struct Client {
    pub(super) number: u32,
    /// Each gateway that it knows.
    pub(super) doors: Vec<Door>,
    pub(super) is_over: Arc<AtomicBool>,
    /// By which answers are dated.
    pub(super) clock: Stopwatch,
    pub(super) solved: Sender<Solved>,
}

impl Client {
    /// Works, and tells of each answer. Errors: what a job came to instead of one.
    pub(super) fn work(mut self) -> std::result::Result<(), String> {
        for job in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return Ok(());
            }
            let solved = self.solve(&format!("https://client-{}.test/{job}", self.number))?;
            self.solved.send(solved).map_err(|_| "the test has ended".to_owned())?;
        }
        Ok(())
    }

    fn solve(&mut self, page: &str) -> std::result::Result<Solved, String> {
        let began = Stopwatch::start();
        let submit = format!(
            "/in.php?key={DEFAULT_KEY}&method=userrecaptcha&googlekey=plain-site-key&pageurl={page}"
        );
        let id =
            self.until(began, &submit, page, |said| said.strip_prefix("OK|").map(str::to_owned))?;
        let poll = format!("/res.php?key={DEFAULT_KEY}&action=get&id={id}");
        let answer =
            self.until(began, &poll, page, |said| said.strip_prefix("OK|").map(str::to_owned))?;
        let task = id.parse().map_err(|_| format!("{page}: the id is {id:?}"))?;
        Ok(Solved { page: page.to_owned(), task, answer, at_us: self.clock.elapsed_us() })
    }

    /// Asks one gateway after the other until `wanted` finds what it wants.
    fn until<T>(
        &mut self,
        began: Stopwatch,
        target: &str,
        page: &str,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> std::result::Result<T, String> {
        let mut said = String::new();
        for turn in self.number as usize.. {
            if u128::from(began.elapsed_us()) > LONGEST_JOB.as_micros() {
                break;
            }
            match self.ask_at(turn, target, page).map(|reply| (wanted(&reply), reply)) {
                Some((Some(found), _)) => return Ok(found),
                // What a script takes for the end of its job.
                Some((None, reply))
                    if reply.starts_with("ERROR_CAPTCHA") || reply.contains("WRONG") =>
                {
                    return Err(format!("{target}: {reply}"));
                }
                Some((None, reply)) => said = reply,
                None => {}
            }
            // tidy: allow sleep, because a script waits so between its questions.
            std::thread::sleep(GAP);
        }
        Err(format!("{target}: no answer in two minutes; last: {said:?}"))
    }

    /// Asks whose turn it is, or the next that is not shunned.
    fn ask_at(&mut self, turn: usize, target: &str, page: &str) -> Option<String> {
        let (now, all) = (self.clock.elapsed_us(), self.doors.len());
        let is_shunned = |door: &Door| door.failed_us.is_some_and(|at| now < at + SHUNNED_US);
        let turns = turn..turn + all;
        let open = turns.map(|turn| turn % all).find(|at| !is_shunned(&self.doors[*at]));
        let door = &mut self.doors[open.unwrap_or(turn % all)];
        let reply = ask(&door.address, target, page).ok();
        door.failed_us = reply.is_none().then(|| self.clock.elapsed_us());
        reply
    }
}

/// `name` names the job, so that a submit whose answer was lost can be made again.
fn ask(gateway: &str, target: &str, name: &str) -> Result<String> {
    let gateway = gateway.parse().expect("an address");
    let mut line = TcpStream::connect_timeout(&gateway, PATIENCE)?;
    line.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {name}\r\n\
         connection: close\r\n\r\n"
    );
    line.write_all(request.as_bytes())?;
    let mut reply = String::new();
    line.read_to_string(&mut reply)?;
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
