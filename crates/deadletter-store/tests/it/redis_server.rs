//! What a Redis server and the line to it may do to a store.

use crate::{
    line::{Line, Way},
    redis_prefix::{Prefix, say},
    server::variable,
};
use deadletter_core::UnixMs;
use deadletter_store::{Durability, Error, ManualClock, RedisStore, Registry, Result, Store};
use futures_util::future::join_all;
use std::{net::TcpListener, sync::Arc};

fn server() -> String {
    variable("DLQ_TEST_REDIS")
}

fn password() -> String {
    let url = server();
    let (user, _) = url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
    user.split_once(':').unwrap().1.to_owned()
}

fn port() -> u16 {
    server().rsplit_once(':').unwrap().1.parse().unwrap()
}

async fn open(url: &str) -> Result<RedisStore> {
    RedisStore::open(url, Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)))).await
}

/// The error of an open that must fail, with all that is behind it.
async fn refused(url: &str) -> (Error, String) {
    let error = open(url).await.expect_err("it opened");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(why) = source {
        text.push_str(&format!(": {why}"));
        source = why.source();
    }
    assert!(!text.contains(&password()) && !text.contains("hunter2"), "{text}");
    (error, text)
}

/// A key under a prefix, as it is behind the store's back.
fn key(prefix: &Prefix, name: &str) -> String {
    format!("{{{}}}:{name}", prefix.name)
}

#[tokio::test]
async fn two_that_open_an_empty_prefix_at_once_make_one_store() {
    let prefix = Prefix::new();
    let opened = join_all((0..4).map(|_| open(&prefix.url))).await;
    let stores: Vec<RedisStore> = opened.into_iter().map(|store| store.unwrap()).collect();
    assert_eq!(stores[0].put_document("a", 0, "{}").await.unwrap(), Some(1));
    assert_eq!(stores[3].put_document("a", 0, "{}").await.unwrap(), None);
    assert_eq!(stores[2].document("a").await.unwrap().unwrap().version, 1);
    prefix.end();
}

#[tokio::test]
async fn a_server_that_flushes_each_write_is_believed_where_it_may_be_asked() {
    let prefix = Prefix::on(&server());
    assert_eq!(open(&prefix.url).await.unwrap().durability(), Durability::D2);
    prefix.end();
}

#[tokio::test]
async fn a_newer_layout_is_refused_and_stays_as_it_is() {
    let prefix = Prefix::new();
    open(&prefix.url).await.unwrap();
    say(&server(), &["HSET", &key(&prefix, "m"), "schema", "99"]);
    let (error, text) = refused(&prefix.url).await;
    assert!(matches!(error, Error::TooNew { found: 99, .. }), "{text}");
    assert_eq!(say(&server(), &["HGET", &key(&prefix, "m"), "schema"]).trim(), "99");
    prefix.end();
}

#[tokio::test]
async fn a_prefix_that_holds_something_else_is_left_alone() {
    let prefix = Prefix::new();
    say(&server(), &["SET", &key(&prefix, "m"), "wages"]);
    let (error, text) = refused(&prefix.url).await;
    assert!(matches!(error, Error::Damaged { .. }), "{text}");
    assert_eq!(say(&server(), &["GET", &key(&prefix, "m")]).trim(), "wages");
    prefix.end();
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_no_secret() {
    let right = password();
    let (error, text) = refused(&server().replace(&right, "hunter2")).await;
    assert!(matches!(error, Error::Denied { .. }) && text.contains("127.0.0.1"), "{text}");
    let nameless = format!("redis://127.0.0.1:{}", port());
    let (error, text) = refused(&nameless).await;
    assert!(matches!(error, Error::Denied { .. }) && text.contains("NOAUTH"), "{text}");
    // A port that nobody listens on: it was given to us, and let go.
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let gone = free.local_addr().unwrap().port();
    drop(free);
    let away = server().replace(&format!(":{}", port()), &format!(":{gone}"));
    let (error, text) = refused(&away).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
    assert!(text.contains(&gone.to_string()) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_user_who_lacks_a_right_is_told_which_before_anything_is_written() {
    let prefix = Prefix::new();
    for right in ["zlexcount", "mset", "append"] {
        let set = |how: &str| {
            say(&server(), &["ACL", "SETUSER", &prefix.name, &format!("{how}{right}")]);
        };
        set("-");
        let (error, text) = refused(&prefix.url).await;
        set("+");
        assert!(matches!(error, Error::ReadOnly { .. }), "{text}");
        assert!(text.contains(&right.to_uppercase()) && text.contains("docs/redis.md"), "{text}");
    }
    let keys = ["m", "scratch"].map(|name| key(&prefix, name));
    assert_eq!(say(&server(), &["EXISTS", &keys[0], &keys[1]]).trim(), "0");
    prefix.end();
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_scripts_is_taught_them_again() {
    let prefix = Prefix::new();
    let store = open(&prefix.url).await.unwrap();
    assert_eq!(store.put_document("a", 0, "{}").await.unwrap(), Some(1));
    say(&server(), &["SCRIPT", "FLUSH"]);
    assert_eq!(store.put_document("a", 1, "{}").await.unwrap(), Some(2));
    prefix.end();
}

#[tokio::test]
async fn a_store_that_was_emptied_is_not_gone_on_with() {
    let prefix = Prefix::new();
    let store = open(&prefix.url).await.unwrap();
    store.put_document("a", 0, "{}").await.unwrap();
    say(&server(), &["DEL", &key(&prefix, "m"), &key(&prefix, "dv"), &key(&prefix, "db")]);
    let lost = |answer: Result<_>| matches!(answer, Err(Error::RolledBack(_)));
    assert!(lost(store.put_document("b", 0, "{}").await.map(drop)));
    assert!(lost(store.document("a").await.map(drop)), "nothing is believed any more");
    let again = open(&prefix.url).await.unwrap();
    assert_eq!(again.put_document("a", 0, "{}").await.unwrap(), Some(1), "another store");
    assert!(lost(store.pulse().await.map(drop)));
    prefix.end();
}

/// Cuts the line at every byte of a write and its answer. What was answered stands, and once.
async fn cut_a_write_everywhere(way: Way) {
    let (prefix, line) = (Prefix::new(), Line::to(port()).await);
    let url = prefix.url.replace(&format!(":{}", port()), &format!(":{}", line.port));
    let store = open(&url).await.unwrap();
    let watcher = open(&prefix.url).await.unwrap();
    let mut at = 0;
    loop {
        let name = format!("cut/{at}");
        line.cut(way, at, "EVALSHA");
        assert_eq!(store.put_document(&name, 0, "{}").await.unwrap(), Some(1), "{way:?} {at}");
        let document = watcher.document(&name).await.unwrap();
        assert_eq!(document.map(|it| it.version), Some(1), "{way:?} {at}");
        if !line.was_cut() {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "the exchange has more bytes than {at}");
    let written = u64::try_from(at + 1).unwrap();
    assert_eq!(watcher.pulse().await.unwrap(), written, "each was written once");
    prefix.end();
}

#[tokio::test]
async fn a_write_that_is_cut_on_its_way_there_is_done_once() {
    cut_a_write_everywhere(Way::There).await;
}

#[tokio::test]
async fn a_write_whose_answer_is_cut_is_done_once() {
    cut_a_write_everywhere(Way::Back).await;
}
