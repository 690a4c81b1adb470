//! What a store asks of a Redis server, and what it promises on one: on servers of the tests' own.

use crate::{
    redis_prefix::{Prefix, say},
    server::variable,
};
use deadletter_core::UnixMs;
use deadletter_store::{Durability, Error, ManualClock, RedisStore, Registry, Result, Store};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

/// A server that ends with the test.
struct Own {
    url: String,
    port: u16,
    server: Child,
    /// What it says: kept open, so that it can.
    _said: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl Own {
    /// With these settings.
    fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(settings)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it has ended");
        }
        let url = format!("redis://127.0.0.1:{port}");
        Self { url, port, server, _said: said, _folder: folder }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // One that has ended already is gone as well.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

async fn open(url: &str) -> Result<RedisStore> {
    RedisStore::open(url, Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)))).await
}

/// The error of an open that must fail, with what is behind it.
async fn refused(url: &str) -> (Error, String) {
    let error = open(url).await.expect_err("it opened");
    let source = std::error::Error::source(&error);
    let text = format!("{error}: {}", source.map(ToString::to_string).unwrap_or_default());
    (error, text)
}

#[tokio::test]
async fn what_a_write_survives_follows_from_the_servers_settings() {
    for (settings, class) in [
        (&["--appendonly", "yes", "--appendfsync", "always"] as &[&str], Durability::D2),
        (&["--appendonly", "yes", "--appendfsync", "everysec"], Durability::D1),
        (&["--appendonly", "no", "--appendfsync", "always"], Durability::D0),
    ] {
        let own = Own::with(settings);
        assert_eq!(open(&own.url).await.unwrap().durability(), class, "{settings:?}");
    }
}

#[tokio::test]
async fn who_may_not_ask_for_the_settings_is_promised_no_more_than_a_second_before_the_end() {
    let prefix = Prefix::new();
    assert_eq!(open(&prefix.url).await.unwrap().durability(), Durability::D2, "as documented");
    say(&variable("DLQ_TEST_REDIS"), &["ACL", "SETUSER", &prefix.name, "-config|get"]);
    assert_eq!(open(&prefix.url).await.unwrap().durability(), Durability::D1);
    prefix.end();
}

#[tokio::test]
async fn a_server_that_would_throw_tasks_away_is_refused() {
    let own = Own::with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let (error, text) = refused(&own.url).await;
    assert!(matches!(error, Error::Refused(_)) && text.contains("noeviction"), "{text}");
}

/// Waits until the server has refused something with that word.
async fn has_refused(server: &str, word: &str) {
    while !say(server, &["INFO", "errorstats"]).contains(word) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_becomes_a_replica_is_waited_for_and_its_writes_are_made_once() {
    let own = Own::with(&[]);
    let store = open(&own.url).await.unwrap();
    assert_eq!(store.put_document("a", 0, "{}").await.unwrap(), Some(1));
    let server = format!("redis://default:none@127.0.0.1:{}", own.port);
    // Nobody listens there.
    say(&server, &["REPLICAOF", "127.0.0.1", "1"]);
    let writing = async { store.put_document("a", 1, "{}").await };
    let promoting = async {
        has_refused(&server, "READONLY").await;
        say(&server, &["REPLICAOF", "NO", "ONE"]);
    };
    let (written, ()) = tokio::join!(writing, promoting);
    assert_eq!(written.unwrap(), Some(2));
    say(&server, &["REPLICAOF", "127.0.0.1", "1"]);
    let error = store.put_document("a", 2, "{}").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "another may come: {error}");
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("replica"), "{why}");
}

#[tokio::test]
async fn a_replica_is_not_written_to() {
    let master = Own::with(&[]);
    let replica = Own::with(&["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    let (error, text) = refused(&replica.url).await;
    assert!(matches!(error, Error::ReadOnly { .. }) && text.contains("master"), "{text}");
}

#[tokio::test]
async fn a_server_without_room_writes_nothing_of_a_call() {
    let own = Own::with(&["--maxmemory", "8mb"]);
    let store = open(&own.url).await.unwrap();
    let body = "x".repeat(1 << 20);
    let mut written = 0_u32;
    let error = loop {
        match store.put_document(&format!("d/{written:03}"), 0, &body).await {
            Ok(version) => assert_eq!(version, Some(1)),
            Err(error) => break error,
        }
        written += 1;
        assert!(written < 100, "its memory has no end");
    };
    assert!(matches!(&error, Error::Full { .. }), "{error}");
    let standing = store.documents("d/", 100).await.unwrap();
    assert_eq!(standing.len(), usize::try_from(written).unwrap());
    let (first, refused) = ("d/000", format!("d/{written:03}"));
    assert!(store.document(first).await.unwrap().is_some_and(|it| it.body == body));
    assert_eq!(store.document(&refused).await.unwrap(), None);
}

#[tokio::test]
async fn databases_of_a_server_are_stores_of_their_own() {
    let own = Own::with(&[]);
    let (first, second) = (open(&own.url).await.unwrap(), open(&format!("{}/1", own.url)).await);
    assert_eq!(first.put_document("a", 0, "{}").await.unwrap(), Some(1));
    assert_eq!(second.unwrap().document("a").await.unwrap(), None);
    let (error, text) = refused(&format!("{}/99", own.url)).await;
    assert!(matches!(error, Error::Denied { .. }), "{text}");
}

#[tokio::test]
async fn tls_is_spoken_to_a_server_whose_certificate_is_trusted() {
    let prefix = Prefix::on(&variable("DLQ_TEST_REDIS"));
    let root = variable("DLQ_TEST_POSTGRES_CERTIFICATE");
    let encrypted = format!("{}?prefix={}", variable("DLQ_TEST_REDIS_TLS"), prefix.name);
    let trusting = open(&format!("{encrypted}&sslrootcert={root}")).await.unwrap();
    assert_eq!(trusting.put_document("a", 0, "{}").await.unwrap(), Some(1));
    let (error, text) = refused(&encrypted).await;
    assert!(matches!(error, Error::Untrusted { .. }) && text.contains("certificate"), "{text}");
    prefix.end();
}
