//! A Redis server of the test's own, which it stops, kills and starts again.

use super::server::Server;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// The server, and the folder that it lies in.
pub(super) struct Redis {
    dir: TempDir,
    port: u16,
    /// How it is set.
    settings: Vec<String>,
    /// Guards who runs now, with its output, which is kept open.
    running: Mutex<Option<(Child, BufReader<ChildStdout>)>>,
}

impl Redis {
    /// Begins one on a free port of 127.0.0.1: class D2, each write is flushed.
    pub(super) fn start() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Begins one with these settings.
    pub(super) fn with(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the server");
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let settings = settings.iter().map(ToString::to_string).collect();
        let redis = Self { dir, port, settings, running: Mutex::default() };
        redis.begin();
        redis
    }

    /// Tells it something; what it says.
    pub(super) fn say(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let said = Command::new("redis-cli").args(["-p", &port]).args(words).output();
        String::from_utf8_lossy(&said.expect("redis-cli starts").stdout).trim().to_owned()
    }

    /// Waits for the end of what runs, if anything does.
    fn ends(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut child, _)) = running {
            child.wait().expect("it is ours");
        }
    }
}

impl Server for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn begin(&self) {
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(&self.settings)
            .current_dir(self.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("it says words"), 0, "it has ended");
        }
        let running = &mut *self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = Some((child, said));
    }

    fn stop(&self) {
        self.say(&["SHUTDOWN"]);
        self.ends();
    }

    fn kill(&self) {
        if let Some((child, _)) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            super::signal(child.id(), "-KILL");
        }
        self.ends();
    }

    fn end_connections(&self) -> u32 {
        let killed = self.say(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        killed.parse().expect("the server counts them")
    }

    fn least_ended(&self, often: u32) -> u32 {
        // A gateway has one alone, and may not have it again yet.
        often / 3
    }

    fn lets_nobody_in(&self) -> Box<dyn FnOnce() + '_> {
        // The only connection that is left is this one's.
        let mut stranger = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli starts");
        let mut says = stranger.stdin.take().expect("piped");
        let mut hears = BufReader::new(stranger.stdout.take().expect("piped"));
        says.write_all(b"CONFIG SET maxclients 1\nCLIENT KILL TYPE normal SKIPME yes\n")
            .expect("it takes words");
        let mut line = String::new();
        hears.read_line(&mut line).expect("it answers");
        assert_eq!(line.trim(), "OK");
        line.clear();
        hears.read_line(&mut line).expect("it answers");
        let killed: u32 = line.trim().parse().expect("the server counts them");
        assert!(killed > 0, "nobody was connected");
        Box::new(move || {
            says.write_all(b"CONFIG SET maxclients 10000\n").expect("it takes words");
            drop(says);
            assert!(stranger.wait().expect("it is ours").success());
        })
    }

    fn url(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
