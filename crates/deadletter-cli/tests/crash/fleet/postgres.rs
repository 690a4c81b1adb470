//! A PostgreSQL server of the test's own, which it stops, kills and starts again.

use super::server::Server;
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
            .args(["-U", "deadletter", "-A", "trust", "-E", "UTF8", "--no-locale", "-D"])
            .arg(postgres.data())
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.begin();
        postgres
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
        const SQL: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = 'deadletter'";
        let port = self.port.to_string();
        let asked = Command::new(self.programs.join("psql"))
            .args(["-qAtX", "-h", "127.0.0.1", "-U", "deadletter", "-d", "postgres", "-p", &port])
            .args(["-c", SQL])
            .output()
            .expect("psql starts");
        String::from_utf8_lossy(&asked.stdout).trim().parse().expect("psql counts them")
    }

    fn least_ended(&self, often: u32) -> u32 {
        often
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
