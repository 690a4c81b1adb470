//! A PostgreSQL server of the test's own, which it stops, kills and starts again.

use super::server::Server;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Where `scripts/servers` has found the server's programs.
const PROGRAMS: &str = "DLQ_TEST_POSTGRES_PROGRAMS";
/// Children of a server that was killed hold its memory for a moment, and each start waits by
/// itself.
const STARTS: u32 = 50;

/// The server, and the folder that it lies in.
pub(super) struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes one on a free port of 127.0.0.1, with the usual settings: class D2.
    pub(super) fn start() -> Self {
        let programs = std::env::var(PROGRAMS).expect("scripts/servers cargo test ...");
        let dir = tempfile::tempdir().expect("a folder for the server");
        // Root hands it to the user that the server runs as.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).expect("the folder is ours");
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let postgres = Self { dir, programs: programs.into(), port };
        let made = postgres
            .program("initdb")
            .args(["-U", "admin", "-A", "trust", "-E", "UTF8", "--no-locale", "-D"])
            .arg(postgres.data())
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.begin();
        postgres
            .says("CREATE ROLE deadletter LOGIN; GRANT CREATE ON DATABASE postgres TO deadletter");
        postgres
    }

    /// An administrator at work.
    fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "admin"]);
        psql.args(["-d", "postgres", "-p", &self.port.to_string()]);
        psql
    }

    /// What an administrator is answered.
    fn says(&self, sql: &str) -> String {
        let asked = self.psql().args(["-c", sql]).output().expect("psql starts");
        assert!(asked.status.success(), "{sql}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8_lossy(&asked.stdout).trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn control(&self, args: &[&str]) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg("-s").arg("-D").arg(self.data()).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// A server refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let is_root = std::fs::metadata(self.dir.path())
            .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
        let mut command = match is_root {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
                command.arg(program);
                command
            }
            false => Command::new(program),
        };
        command.current_dir(Path::new("/"));
        command
    }
}

impl Server for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn begin(&self) {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -k ''", self.port);
        let started = (0..STARTS).any(|_| {
            let log = self.dir.path().join("data/server.log");
            let mut start = self.control(&["-w", "-t", "60", "-o", &options, "-l"]);
            start.arg(log).arg("start");
            start.status().expect("pg_ctl starts").success()
        });
        assert!(started, "the server does not start; see {}", self.data().display());
    }

    fn stop(&self) {
        let stopped = self.control(&["-w", "-m", "fast", "stop"]).status();
        assert!(stopped.expect("pg_ctl starts").success());
    }

    fn kill(&self) {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        super::signal(pid.lines().next().expect("its process"), "-KILL");
    }

    fn end_connections(&self) -> u32 {
        let ended = self.says(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = 'deadletter'",
        );
        ended.parse().expect("the server counts them")
    }

    fn lets_nobody_in(&self) -> Box<dyn FnOnce() + '_> {
        self.says("ALTER ROLE deadletter CONNECTION LIMIT 0");
        assert!(self.end_connections() > 0, "nobody was connected");
        Box::new(|| {
            self.says("ALTER ROLE deadletter CONNECTION LIMIT -1");
        })
    }

    fn least_ended(&self, often: u32) -> u32 {
        often
    }

    fn leaves_a_transaction_open(&self) -> Option<Box<dyn FnOnce() + '_>> {
        let mut stranger =
            self.psql().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql starts");
        let mut says = stranger.stdin.take().expect("piped");
        // It sees all rows as they are now, so that none of them may be cleared away.
        says.write_all(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot();\n")
            .expect("it takes words");
        let mut line = String::new();
        let mut hears = BufReader::new(stranger.stdout.take().expect("piped"));
        assert_ne!(hears.read_line(&mut line).expect("it answers"), 0, "it has ended");
        Some(Box::new(move || {
            says.write_all(b"COMMIT;\n").expect("it is still there");
            drop(says);
            assert!(stranger.wait().expect("it is ours").success(), "it was ended before");
        }))
    }

    fn url(&self, port: u16) -> String {
        format!("postgres://deadletter@127.0.0.1:{port}/postgres?sslmode=disable")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nothing hangs on how it ends, and its folder goes with it.
        self.control(&["-w", "-m", "immediate", "stop"]).status().ok();
    }
}
