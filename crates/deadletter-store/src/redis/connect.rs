//! One connection to a server, or to the node of a cluster that has the store's keys.

use super::{
    failure::{Failure, Outcome, READONLY},
    info::Info,
    url::{Place, Target},
};
use crate::{
    Error, Result,
    trust::{Refusal, roots, unusable},
};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, RedisConnectionInfo, Value,
    aio::MultiplexedConnection,
};
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use secrecy::ExposeSecret;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Redis 7.0 is the first with everything that is asked of it here.
const OLDEST: (u32, u32) = (7, 0);
/// Who takes a connection and does not say hello for so long is lost, or no server at all.
const GREETING: Duration = Duration::from_secs(5);
/// Less than a greeting takes in all, so that what is missing is told.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// No question here takes so long but on a server that is lost. Beats come every 2 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that wait to be sent: more callers wait for room.
const QUEUE: usize = 1_024;
/// Nodes of a cluster that are asked for the one with the keys, one after the other.
const HOPS: usize = 4;

/// A connection that is open.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// Where it leads.
    pub(super) place: Place,
    /// Other nodes of its cluster.
    pub(super) others: Vec<Place>,
    pub(super) info: Info,
}

/// How connections are encrypted, where they are. Errors: `BadUrl`.
pub(super) fn encryption(target: &Target) -> Result<Option<TlsConnector>> {
    if !target.tls {
        return Ok(None);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("the versions of TLS", error))?
        .with_root_certificates(roots(target.roots.as_deref())?)
        .with_no_client_auth();
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// Connects to the server at `place`, or to the node that its cluster names for the store's keys.
pub(super) async fn connect(
    target: &Target,
    tls: Option<&TlsConnector>,
    place: &Place,
) -> Outcome<Connected> {
    let mut place = place.clone();
    for _ in 0..HOPS {
        let greeted = tokio::time::timeout(GREETING, greet(target, tls, &place)).await;
        let (mut connection, info) =
            greeted.map_err(|_| Failure::Lost(format!("{} does not answer", place.host)))??;
        refuse_unfit(&info)?;
        if !info.is_cluster() {
            return Ok(Connected { connection, place, others: Vec::new(), info });
        }
        let nodes = nodes(&mut connection, target, &place).await?;
        if nodes.master == place {
            return Ok(Connected { connection, place, others: nodes.others, info });
        }
        place = nodes.master;
    }
    Err(Failure::Lost("its nodes do not agree on who has the keys".to_owned()))
}

async fn greet(
    target: &Target,
    tls: Option<&TlsConnector>,
    place: &Place,
) -> Outcome<(MultiplexedConnection, Info)> {
    let away = |error: std::io::Error| Failure::of_line(&error);
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(away)?;
    stream.set_nodelay(true).map_err(away)?;
    let mut connection = match tls {
        None => talk(target, stream).await?,
        Some(tls) => {
            let name = ServerName::try_from(place.host.clone())
                .map_err(|error| Failure::Lost(error.to_string()))?;
            // A server without TLS waits for the end of a line that never comes.
            let encrypted = tokio::time::timeout(HANDSHAKE, tls.connect(name, stream)).await;
            let silent = |_| Failure::NoTls {
                refusal: Refusal::Plain,
                told: format!("{} takes the connection and says no word of TLS", place.host),
            };
            talk(target, encrypted.map_err(silent)?.map_err(away)?).await?
        }
    };
    let info: String = ask(&mut connection, &redis::cmd("INFO")).await?;
    Ok((connection, Info::parse(&info)))
}

async fn talk<S>(target: &Target, stream: S) -> Outcome<MultiplexedConnection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut about = RedisConnectionInfo::default()
        .set_db(i64::from(target.database))
        // What it would say of the client is a right more that the user would need.
        .set_skip_set_lib_name();
    if let Some(user) = &target.user {
        about = about.set_username(user);
    }
    if let Some(password) = &target.password {
        about = about.set_password(password.expose_secret());
    }
    // Its own patience of half a second ends calls that a busy server would have answered.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(PATIENCE))
        .set_pipeline_buffer_size(QUEUE);
    let (connection, line) = MultiplexedConnection::new_with_config(&about, stream, config).await?;
    // Ends when the last clone of the connection is dropped, or the server hangs up.
    tokio::spawn(line);
    Ok(connection)
}

/// Asks one question.
pub(super) async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    question: &Cmd,
) -> Outcome<T> {
    let answer = connection.send_packed_command(question).await?;
    // An error that stands in the answer is an error.
    Ok(redis::from_redis_value(answer.extract_error()?)?)
}

fn refuse_unfit(info: &Info) -> Outcome<()> {
    let version = info.version();
    if version < OLDEST {
        let what =
            format!("Redis {} is too old; 7.0 or later is needed", info.word("redis_version"));
        return Err(Error::Refused(what).into());
    }
    if info.word("role") == "slave" && !info.is_cluster() {
        return Err(Failure::Refused {
            code: READONLY.to_owned(),
            told: "it follows another one".to_owned(),
        });
    }
    if info.evicts() {
        let what = format!(
            "the server throws keys away when its memory is full (maxmemory-policy {}), and tasks \
             with them; set it to noeviction",
            info.word("maxmemory_policy")
        );
        return Err(Error::Refused(what).into());
    }
    Ok(())
}

struct Nodes {
    master: Place,
    others: Vec<Place>,
}

/// The node that has the store's keys, and the others.
async fn nodes(
    connection: &mut MultiplexedConnection,
    target: &Target,
    here: &Place,
) -> Outcome<Nodes> {
    let slot = redis::cmd("CLUSTER").arg("KEYSLOT").arg(&target.prefix).take();
    let slot: i64 = ask(connection, &slot).await?;
    let ranges = redis::cmd("CLUSTER").arg("SLOTS").take();
    let ranges: Vec<Vec<Value>> = ask(connection, &ranges).await?;
    let (mut master, mut others) = (None, Vec::new());
    for range in ranges {
        let mut range = range.into_iter();
        let mut bound = || range.next().and_then(|it| redis::from_redis_value::<i64>(it).ok());
        let has_it = matches!((bound(), bound()), (Some(first), Some(last)) if first <= slot && slot <= last);
        for (n, node) in range.enumerate() {
            let Some(place) = place_of(node, here) else { continue };
            if has_it && n == 0 {
                master = Some(place.clone());
            }
            if place != *here && !others.contains(&place) {
                others.push(place);
            }
        }
    }
    match master {
        Some(master) => Ok(Nodes { master, others }),
        None => Err(Failure::Refused {
            code: "CLUSTERDOWN".to_owned(),
            told: "no node has the keys".to_owned(),
        }),
    }
}

fn place_of(node: Value, here: &Place) -> Option<Place> {
    let mut parts = redis::from_redis_value::<Vec<Value>>(node).ok()?.into_iter();
    let host = redis::from_redis_value::<Option<String>>(parts.next()?).ok()?;
    let port = redis::from_redis_value(parts.next()?).ok()?;
    // A node that does not know its own name is where we have asked.
    let host = host.filter(|host| !host.is_empty() && host != "?");
    Some(Place { host: host.unwrap_or_else(|| here.host.clone()), port })
}
