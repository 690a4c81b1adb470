//! An authority of one's own: signs certificates for this machine's names, and nothing else does.
//!
//! Clients that force https are told to trust its certificate. Its key never leaves the document
//! that the caller keeps; the keys of the certificates that it signs never leave memory.

use deadletter::core::UnixMs;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{crypto::ring, pki_types::PrivateKeyDer, sign::CertifiedKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const DAY_MS: i64 = 24 * 3_600_000;
/// Clients are told of it once: it outlives the machines on which it is made.
const AUTHORITY_MS: i64 = 3_650 * DAY_MS;
/// Below what any client refuses as too long; the server signs itself another one in time.
const LEAF_MS: i64 = 30 * DAY_MS;
/// Clocks of clients that are late are borne.
const EARLIER_MS: i64 = DAY_MS;
/// The names that a machine has for itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate that clients trust, and the key that signs for it.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    key: SecretString,
    ends_at: UnixMs,
}

/// What is kept of an authority, as JSON: a secret.
#[derive(Serialize, Deserialize)]
struct Document {
    certificate: String,
    key: String,
    /// Unix milliseconds.
    ends_at: i64,
}

/// Why an authority cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// What was kept is not what was written.
    #[error("the kept authority cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// A name that no certificate can have, or a key that is none.
    #[error("no certificate can be made")]
    Unsignable(#[from] rcgen::Error),
    /// A certificate that was made cannot be shown to clients.
    #[error("the certificate cannot be used")]
    Unusable(#[from] rustls::Error),
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// Where the machine gives no randomness.
    pub fn make(now: UnixMs) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = own_params();
        let ends_at = now.plus(AUTHORITY_MS);
        dated(&mut params, now, ends_at);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem().into(), ends_at })
    }

    /// The one that was kept.
    ///
    /// # Errors
    /// Where `document` is not what [`Authority::document`] wrote.
    pub fn read(document: &SecretString) -> Result<Self, AuthorityError> {
        let kept: Document = serde_json::from_str(document.expose_secret())?;
        KeyPair::from_pem(&kept.key)?;
        let ends_at = UnixMs(kept.ends_at);
        Ok(Self { certificate: kept.certificate, key: kept.key.into(), ends_at })
    }

    /// What to keep, where nobody else reads it.
    #[must_use]
    pub fn document(&self) -> SecretString {
        let Self { certificate, key, ends_at } = self;
        let (certificate, key) = (certificate.clone(), key.expose_secret().to_owned());
        let document = Document { certificate, key, ends_at: ends_at.0 };
        serde_json::to_string(&document).expect("texts and a number").into()
    }

    /// The certificate that clients are to trust, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// True where it ends before a year is over, so that another one should be made.
    #[must_use]
    pub fn is_ending(&self, now: UnixMs) -> bool {
        self.ends_at.since(now) < 365 * DAY_MS
    }

    /// A certificate for this machine's own names and `names`, and when the next one should be made.
    pub(crate) fn sign(
        &self,
        names: &[String],
        now: UnixMs,
    ) -> Result<(CertifiedKey, UnixMs), AuthorityError> {
        let key = KeyPair::generate()?;
        let leaf = self.leaf(names, now, &key)?;
        let secret = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|why| rustls::Error::General(why.to_owned()))?;
        let secret = ring::sign::any_supported_type(&secret)?;
        // Halfway through its life: clocks may differ, and machines may sleep.
        Ok((CertifiedKey::new(vec![leaf.into()], secret), now.plus(LEAF_MS / 2)))
    }

    fn leaf(
        &self,
        names: &[String],
        now: UnixMs,
        key: &KeyPair,
    ) -> Result<Certificate, AuthorityError> {
        let names = OWN_NAMES.into_iter().map(str::to_owned).chain(names.iter().cloned());
        let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
        params.distinguished_name = named("deadletter gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python's strict verification, the default of 3.13, wants it.
        params.use_authority_key_identifier_extension = true;
        dated(&mut params, now, now.plus(LEAF_MS));
        let authority = own_params();
        let own_key = KeyPair::from_pem(self.key.expose_secret())?;
        Ok(params.signed_by(key, &Issuer::from_params(&authority, own_key))?)
    }
}

/// What every authority of ours says of itself, but for its dates.
fn own_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("deadletter local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn dated(params: &mut CertificateParams, now: UnixMs, ends_at: UnixMs) {
    let instant =
        |at: UnixMs| date_time_ymd(1970, 1, 1) + Duration::from_millis(at.0.max(0).unsigned_abs());
    params.not_before = instant(now.plus(-EARLIER_MS));
    params.not_after = instant(ends_at);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    #[test]
    fn what_is_kept_is_the_same_authority_and_is_never_printed() {
        let made = Authority::make(NOW).unwrap();
        let read = Authority::read(&made.document()).unwrap();
        assert_eq!(read.certificate(), made.certificate());
        assert!(made.document().expose_secret().contains("PRIVATE KEY"));
        assert!(!format!("{made:?}{:?}", made.document()).contains("PRIVATE KEY"));
        assert!(!made.certificate().contains("PRIVATE KEY"));
    }

    #[test]
    fn it_says_in_time_that_it_ends() {
        let made = Authority::make(NOW).unwrap();
        assert!(!made.is_ending(NOW) && !made.is_ending(NOW.plus(AUTHORITY_MS - 366 * DAY_MS)));
        assert!(made.is_ending(NOW.plus(AUTHORITY_MS - 364 * DAY_MS)));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let read = |text: &str| Authority::read(&text.into());
        assert!(matches!(read("torn"), Err(AuthorityError::Unreadable(_))));
        let document = r#"{"certificate":"","key":"none","ends_at":0}"#;
        assert!(matches!(read(document), Err(AuthorityError::Unsignable(_))));
    }

    #[test]
    fn a_name_that_no_certificate_can_have_is_refused() {
        let made = Authority::make(NOW).unwrap();
        assert!(made.sign(&["näme".to_owned()], NOW).is_err());
        assert!(made.sign(&["solver.internal".to_owned(), "10.0.0.7".to_owned()], NOW).is_ok());
    }
}
