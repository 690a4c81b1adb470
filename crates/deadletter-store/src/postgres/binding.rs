//! What a password's proof is bound to: the certificate of the server that it is shown to, so that
//! nobody in between can pass it on.
//!
//! It is `tls-server-end-point` of <https://www.rfc-editor.org/rfc/rfc5929#section-4>: the hash of the
//! certificate by the hash of its signature, and by SHA-256 where that is MD5 or SHA-1.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// DER's tags for what a certificate begins with.
const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;

/// The binding of a certificate (DER); none where its signature says no hash, or one that nobody has
/// agreed on: then a proof is not bound.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    match signature(certificate)? {
        // 1.2.840.113549.1.1 (RSA): MD5, SHA-1, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, hash] => match hash {
            4 | 5 | 11 => Some(Sha256::digest(certificate).to_vec()),
            12 => Some(Sha384::digest(certificate).to_vec()),
            13 => Some(Sha512::digest(certificate).to_vec()),
            _ => None,
        },
        // 1.2.840.10045.4 (ECDSA): SHA-1, and .3: SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => Some(Sha256::digest(certificate).to_vec()),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, hash] => match hash {
            2 => Some(Sha256::digest(certificate).to_vec()),
            3 => Some(Sha384::digest(certificate).to_vec()),
            4 => Some(Sha512::digest(certificate).to_vec()),
            _ => None,
        },
        _ => None,
    }
}

/// `Certificate ::= SEQUENCE { what is signed, SEQUENCE { algorithm OBJECT ID, ... }, ... }`
fn signature(certificate: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, whole, _) = element(certificate)? else { return None };
    let (SEQUENCE, _, behind) = element(whole)? else { return None };
    let (SEQUENCE, algorithm, _) = element(behind)? else { return None };
    let (OBJECT_ID, id, _) = element(algorithm)? else { return None };
    Some(id)
}

/// The first element of DER: its tag, its contents, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes of length follow; more than four are no certificate.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(len)?;
    Some((tag, contents, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as it is looked at: what is signed is `len` bytes long.
    fn certificate(len: u8, id: &[u8]) -> Vec<u8> {
        let mut algorithm = vec![OBJECT_ID, id.len() as u8];
        algorithm.extend(id);
        let mut whole = vec![SEQUENCE, 0x81, len];
        whole.extend(vec![7; usize::from(len)]);
        whole.extend([SEQUENCE, algorithm.len() as u8]);
        whole.extend(&algorithm);
        let mut der = vec![SEQUENCE, 0x82, 0, whole.len() as u8];
        der.extend(whole);
        der
    }

    #[test]
    fn a_certificate_is_hashed_as_its_signature_was() {
        let rsa = |n| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, n];
        let ecdsa = |n| [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, n];
        for (id, bytes) in [
            (rsa(5).as_slice(), Some(32)),
            (&rsa(11), Some(32)),
            (&rsa(12), Some(48)),
            (&rsa(13), Some(64)),
            (&rsa(10), None),
            (&ecdsa(2), Some(32)),
            (&ecdsa(3), Some(48)),
            (&ecdsa(4), Some(64)),
            // Ed25519 hashes as it likes.
            (&[0x2b, 0x65, 0x70], None),
        ] {
            let der = certificate(200, id);
            assert_eq!(end_point(&der).map(|hash| hash.len()), bytes, "{id:x?}");
            for cut in 0..der.len() {
                assert_eq!(end_point(&der[..cut]), None, "{id:x?} cut at {cut}");
            }
        }
    }
}
