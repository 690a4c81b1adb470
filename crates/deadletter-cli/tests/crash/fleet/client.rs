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
/// Between two questions: a tenth of what scripts wait, for the clocks run ten times as fast.
const GAP: Duration = Duration::from_millis(200);
/// A job that has no answer by then has none.
const LONGEST_JOB: Duration = Duration::from_secs(120);

/// A job that was answered.
pub(super) struct Solved {
    pub(super) page: String,
    pub(super) task: TaskId,
    pub(super) answer: String,
}

/// One client: a job at a time until it is told to end.
pub(super) struct Client {
    pub(super) number: u32,
    /// Host and port of the gateways.
    pub(super) gateways: Vec<String>,
    pub(super) is_over: Arc<AtomicBool>,
    pub(super) solved: Sender<Solved>,
}

impl Client {
    /// Works, and tells of each answer. Errors: what a job came to instead of one.
    pub(super) fn work(self) -> std::result::Result<(), String> {
        for job in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return Ok(());
            }
            let solved = self.solve(&format!("https://client-{}.test/{job}", self.number))?;
            self.solved.send(solved).map_err(|_| "the test has ended".to_owned())?;
        }
        Ok(())
    }

    fn solve(&self, page: &str) -> std::result::Result<Solved, String> {
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
        Ok(Solved { page: page.to_owned(), task, answer })
    }

    /// Asks one gateway after the other until `wanted` finds what it wants.
    fn until<T>(
        &self,
        began: Stopwatch,
        target: &str,
        page: &str,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> std::result::Result<T, String> {
        let mut said = String::new();
        for gateway in self.gateways.iter().cycle().skip(self.number as usize) {
            if u128::from(began.elapsed_us()) > LONGEST_JOB.as_micros() {
                break;
            }
            if let Ok(reply) = ask(gateway, target, page) {
                match wanted(&reply) {
                    Some(found) => return Ok(found),
                    // What a script takes for the end of its job.
                    None if reply.starts_with("ERROR_CAPTCHA") || reply.contains("WRONG") => {
                        return Err(format!("{target}: {reply}"));
                    }
                    None => said = reply,
                }
            }
            // tidy: allow sleep, because a script waits so between its questions.
            std::thread::sleep(GAP);
        }
        Err(format!("{target}: no answer in two minutes; last: {said:?}"))
    }
}

/// `name` names the job, so that a submit whose answer was lost can be made again.
fn ask(gateway: &str, target: &str, name: &str) -> Result<String> {
    let mut line = TcpStream::connect(gateway)?;
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
