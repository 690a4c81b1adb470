//! The submits of this process in a file of its own, so that K holds where the process and what its
//! server remembers of them end together.
//!
//! Each attempt that is written to the store is appended here before its call answers, so before
//! anything is sent. Nothing is flushed: a file outlives the process, not its machine. Whoever begins
//! next in the same folder takes the lines of processes that are gone along, has what a server has
//! lost of them put back, and deletes their files.

use super::{json, kept::Piece, server::Server};
use crate::Result;
use deadletter_core::{Attempt, TaskId, UnixMs};
use redis::Cmd;
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes of a file: when it is full the one before it is deleted, and another one is begun.
const BYTES: u64 = 32 << 20;
/// How old a line counts: longer than a server is behind that others would let take over.
const AGE_MS: i64 = 3_600_000;
/// Bytes of a line: an attempt has bounded texts.
const LINE: usize = 64 << 10;

/// Where the submits of a store are noted.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: PathBuf,
    /// Of the store: lines of another one concern nobody here.
    mark: String,
    /// Of the handle: nobody else has it.
    name: String,
    /// Guards the files, from the first worker on.
    files: Mutex<Option<Files>>,
}

#[derive(Debug)]
struct Files {
    /// Locked, as long as the process lives.
    current: File,
    bytes: u64,
    /// Files so far, and the one before.
    n: u64,
    before: Option<(PathBuf, File)>,
}

/// An attempt as it was written.
#[derive(Debug, Deserialize)]
struct Line {
    /// Of the store, with the number of its life.
    epoch: String,
    /// Where the store stood behind it.
    seq: u64,
    at: UnixMs,
    attempt: Attempt,
}

impl Ledger {
    pub(super) fn new(folder: PathBuf, epoch: &str, handle: &str) -> Self {
        let mark = mark_of(epoch).0.to_owned();
        Self { folder, mark, name: handle.to_owned(), files: Mutex::default() }
    }

    /// Lets go of the files, which stay for whoever begins next.
    pub(super) fn close(&self) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Appends the attempts among what was written.
    fn note(&self, pieces: &[Piece], epoch: &str, seq: u64, at: UnixMs) -> io::Result<()> {
        let files = &mut *self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = files else { return Ok(()) };
        let mut lines = Vec::new();
        for piece in pieces {
            let Piece::Task { task, attempts, .. } = piece else { continue };
            for attempt in task.attempts.iter().filter(|it| attempts.contains(&it.token)) {
                write!(lines, r#"{{"epoch":"{epoch}","seq":{seq},"at":{},"attempt":"#, at.0)?;
                lines.extend_from_slice(json::written(attempt).as_bytes());
                lines.extend_from_slice(b"}\n");
            }
        }
        files.current.write_all(&lines)?;
        files.bytes += lines.len() as u64;
        if files.bytes > BYTES {
            let n = files.n + 1;
            let (path, next) = self.create(n)?;
            let full = std::mem::replace(&mut files.current, next);
            let full_path = self.path(files.n);
            (files.bytes, files.n) = (0, n);
            if let Some((path, _)) = files.before.replace((full_path, full)) {
                fs::remove_file(path)?;
            }
            tracing::debug!(path = %path.display(), "another file of submits is begun");
        }
        Ok(())
    }

    /// Begins a file, and takes along what processes that are gone have left; nothing where it has
    /// begun.
    fn begin(&self, now: UnixMs) -> io::Result<Vec<Line>> {
        let files = &mut *self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.is_some() {
            return Ok(Vec::new());
        }
        let mut folder = DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(&self.folder)?;
        let (_, mut current) = self.create(0)?;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|it| it != "submits") {
                continue;
            }
            match self.take(&path, &mut current, now, &mut lines) {
                Ok(taken) => bytes += taken,
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "a file of submits could not be taken along");
                }
            }
        }
        *files = Some(Files { current, bytes, n: 0, before: None });
        Ok(lines)
    }

    /// Takes a file along, unless its process lives; answers how many bytes that are.
    fn take(
        &self,
        path: &Path,
        own: &mut File,
        now: UnixMs,
        lines: &mut Vec<Line>,
    ) -> io::Result<u64> {
        let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(0) };
        if file.try_lock().is_err() {
            return Ok(0);
        }
        let mut bytes = 0;
        let mut reader = BufReader::new(file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = io::Read::take(&mut reader, LINE as u64).read_until(b'\n', &mut text)?;
            if read == 0 {
                break;
            }
            // The last line of a process that was killed may be a piece of one.
            let Ok(line) = serde_json::from_slice::<Line>(&text) else { continue };
            let is_young = now.since(line.at) <= AGE_MS;
            if is_young && mark_of(&line.epoch).0 != self.mark {
                // Another store's, for whoever begins there.
                return Ok(0);
            }
            if is_young {
                own.write_all(&text)?;
                bytes += text.len() as u64;
                lines.push(line);
            }
        }
        fs::remove_file(path)?;
        Ok(bytes)
    }

    fn create(&self, n: u64) -> io::Result<(PathBuf, File)> {
        let path = self.path(n);
        // Nobody takes it along before it is locked.
        let hidden = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&hidden)?;
        file.lock()?;
        fs::rename(&hidden, &path)?;
        Ok((path, file))
    }

    fn path(&self, n: u64) -> PathBuf {
        self.folder.join(format!("{}-{n}.submits", self.name))
    }
}

/// The mark of a store and the number of its life.
pub(super) fn mark_of(epoch: &str) -> (&str, u64) {
    let (mark, life) = epoch.split_once('+').unwrap_or((epoch, "0"));
    (mark, life.parse().unwrap_or(0))
}

impl Server {
    /// Notes what was written of attempts, where this process keeps a ledger.
    pub(super) async fn note(self: &Arc<Self>, pieces: Vec<Piece>, epoch: &str, seq: u64) {
        let at = self.clock.now();
        let is_of_an_attempt =
            |it: &Piece| matches!(it, Piece::Task { attempts, .. } if !attempts.is_empty());
        let pieces = match &self.ledger {
            Some(ledger) if pieces.iter().any(is_of_an_attempt) => {
                let (ledger, epoch) = (Arc::clone(ledger), epoch.to_owned());
                let noting = tokio::task::spawn_blocking(move || {
                    if let Err(error) = ledger.note(&pieces, &epoch, seq, at) {
                        let folder = ledger.folder.display().to_string();
                        tracing::warn!(
                            folder, %error,
                            "submits could not be noted beside the store; look for room and rights there"
                        );
                    }
                    pieces
                });
                // None where the runtime ends, and all with it.
                noting.await.unwrap_or_default()
            }
            _ => pieces,
        };
        self.kept.note(pieces, seq, at);
    }

    /// Begins the ledger, where there is to be one, and puts back what earlier processes have noted
    /// and the server has lost.
    pub(super) async fn recall(self: &Arc<Self>) -> Result<()> {
        let store = &self.url;
        let Some(ledger) = self.ledger.clone() else {
            tracing::warn!(
                store,
                "no submits are noted beside the store: where a worker ends together with the server, a \
                 task may be submitted once more than it may; name a folder by ledger=FOLDER in the URL"
            );
            return Ok(());
        };
        let (now, folder) = (self.clock.now(), ledger.folder.display().to_string());
        let begun = tokio::task::spawn_blocking(move || ledger.begin(now)).await;
        let lines = match begun.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(lines) if lines.is_empty() => return Ok(()),
            Ok(lines) => lines,
            Err(error) => {
                tracing::warn!(
                    folder, %error,
                    "no submits are noted beside the store; give this user a folder to write in, by \
                     ledger=FOLDER in the URL or by XDG_DATA_HOME"
                );
                return Ok(());
            }
        };
        let about = self.look("look at the store's lives", |call| async move {
            call.ask_one::<HashMap<String, String>>(Cmd::hgetall(call.keys().meta())).await
        });
        let lost = self.take_in(lines, &about.await?);
        if !lost.is_empty() {
            let lost: Vec<TaskId> = lost.into_iter().collect();
            let back = self.put_back_now(&lost).await?;
            tracing::error!(store, tasks = back, "submits that the server has lost are counted");
        }
        Ok(())
    }

    /// Keeps what was noted; answers which tasks have lost something of it.
    fn take_in(&self, lines: Vec<Line>, about: &HashMap<String, String>) -> BTreeSet<TaskId> {
        let present = about.get("epoch").map_or(0, |epoch| mark_of(epoch).1);
        let seq = about.get("seq").and_then(|seq| seq.parse().ok()).unwrap_or(0);
        let ended = |life: u64| {
            let ends = (life + 1..=present).find_map(|life| about.get(&format!("end:{life}")));
            ends.and_then(|end| end.parse::<u64>().ok()).unwrap_or(0)
        };
        let mut lost = BTreeSet::new();
        for line in lines {
            let life = mark_of(&line.epoch).1;
            let is_lost = life != present && line.seq > ended(life);
            if is_lost {
                lost.insert(line.attempt.task);
            }
            let seq = if life == present { line.seq } else { seq };
            self.kept.note(vec![Piece::Attempt(Box::new(line.attempt))], seq, line.at);
        }
        lost
    }
}
