//! TLS: clients that trust the local authority and nobody else.

use crate::rig::{KEY, World};
use deadletter::{
    core::UnixMs,
    store::{Clock as _, ManualClock},
};
use deadletter_gateway::{Authority, Tls};
use deadletter_sim::Scenario;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    time_provider::TimeProvider,
};
use secrecy::SecretString;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const NOW: UnixMs = UnixMs(1_790_000_000_000);
const DAY_MS: i64 = 24 * 3_600_000;
const BOTH: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;

/// A gateway that speaks TLS with a certificate of its own authority.
struct Safe {
    world: World,
    /// What clients trust, as PEM.
    trusted: String,
    clock: Arc<ManualClock>,
}

impl Safe {
    async fn start() -> Self {
        let authority = Authority::make(NOW).unwrap();
        let trusted = authority.certificate().to_owned();
        let clock = Arc::new(ManualClock::at(NOW));
        let names = vec!["solver.internal".to_owned()];
        let tls = Tls::local(authority, names, clock.clone()).unwrap();
        let world = World::with(Scenario::named("happy").unwrap(), |settings| {
            settings.allowed_hosts = vec!["solver.internal".to_owned()];
            settings.limits.handshake = Duration::from_millis(500);
            settings.tls = Some(tls);
        })
        .await;
        Self { world, trusted, clock }
    }

    fn client(
        &self,
        trusted: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        ClientConfig::builder_with_details(provider, Arc::new(At(Arc::clone(&self.clock))))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    async fn connect(&self, config: ClientConfig, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.world.address()).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
        timeout(Duration::from_secs(20), shaking).await.expect("it hangs")
    }

    async fn trusting(&self, name: &str) -> io::Result<TlsStream<TcpStream>> {
        self.connect(self.client(&self.trusted, BOTH), name).await
    }
}

/// The time by which a client judges certificates.
#[derive(Debug)]
struct At(Arc<ManualClock>);

impl TimeProvider for At {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let since_epoch = Duration::from_millis(self.0.now().0.unsigned_abs());
        Some(rustls::pki_types::UnixTime::since_unix_epoch(since_epoch))
    }
}

/// What a question is answered over that connection.
async fn asked(mut stream: TlsStream<TcpStream>, host: &str) -> String {
    let request = format!(
        "GET /res.php?key={KEY}&action=get&id=17 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().ok();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn who_trusts_the_authority_is_served_under_each_of_its_names() {
    let safe = Safe::start().await;
    for version in BOTH {
        for (name, host) in [
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1:8402"),
            ("::1", "[::1]"),
            ("solver.internal", "solver.internal"),
        ] {
            let config = safe.client(&safe.trusted, &[version]);
            let stream =
                safe.connect(config, name).await.unwrap_or_else(|why| panic!("{name}: {why}"));
            let answer = asked(stream, host).await;
            assert!(answer.ends_with("ERROR_WRONG_CAPTCHA_ID"), "{name}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_not_allowed_and_a_stranger_authority_are_refused_by_clients() {
    let safe = Safe::start().await;
    for name in ["evil.example", "127.0.0.2", "localhost.evil.example", "sub.localhost"] {
        let refused = safe.trusting(name).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("not valid for name"), "{name}: {refused}");
    }
    let other = Authority::make(NOW).unwrap();
    let stranger = safe.client(other.certificate(), BOTH);
    assert!(safe.connect(stranger, "localhost").await.is_err());
    // Whoever was refused has not hurt the port.
    assert!(asked(safe.trusting("localhost").await.unwrap(), "localhost").await.contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_renewed_while_the_gateway_runs() {
    let safe = Safe::start().await;
    let mut shown = Vec::new();
    for days in [0, 14, 2, 200] {
        safe.clock.advance(days * DAY_MS);
        let stream = safe.trusting("localhost").await.expect("it is valid");
        shown.push(stream.get_ref().1.peer_certificates().unwrap()[0].clone());
    }
    assert_eq!(shown[0], shown[1]);
    assert_ne!(shown[1], shown[2]);
    assert_ne!(shown[2], shown[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_that_https_is_spoken() {
    let safe = Safe::start().await;
    for target in ["/in.php", "/healthz"] {
        let reply = safe.world.get(&format!("{target}?key={KEY}&method=x")).await;
        assert_eq!(reply.status, 400);
        assert!(reply.body.contains("https://"), "{reply:?}");
    }
    assert_eq!(safe.world.store.totals().await.unwrap().accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_finish_the_handshake_is_let_go() {
    let safe = Safe::start().await;
    // Nothing; the first byte of a handshake; a record that promises more.
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\xff\xff\x01"] {
        let mut stream = TcpStream::connect(safe.world.address()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("kept").ok();
        assert!(!rest.starts_with(b"HTTP"), "{begun:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_not_agreed_upon() {
    let safe = Safe::start().await;
    let mut config = safe.client(&safe.trusted, BOTH);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = safe.connect(config.clone(), "localhost").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(safe.connect(config, "localhost").await.is_err());
}

#[test]
fn a_certificate_that_was_given_must_be_whole_and_fit_its_key() {
    let own = |names: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let chain = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (chain.pem(), SecretString::from(key.serialize_pem()))
    };
    let ((chain, key), (_, other)) = (own(&["a.example"]), own(&["a.example"]));
    assert!(Tls::given(chain.as_bytes(), &key).is_ok());
    assert!(Tls::given(chain.as_bytes(), &other).is_err(), "another's key");
    assert!(Tls::given(b"", &key).is_err(), "no certificate");
    assert!(Tls::given(chain.as_bytes(), &"none".into()).is_err(), "no key");
    assert!(Tls::given(&chain.as_bytes()[..chain.len() / 2], &key).is_err(), "half a certificate");
}
