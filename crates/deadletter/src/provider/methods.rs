//! What is known of each method: when to ask, how long to wait, how long an answer lives.
//!
//! First polls and gaps are those of the vendor's official client; the lives of answers are the
//! shortest that its sources name. They are defaults: the engine learns solve times, and the
//! user's configuration wins.

use deadletter_core::Terms;

/// No poll more often than that per task, by the vendor's advice.
const GAP_MS: i64 = 5_000;

/// Vendors' clients give up after 120 to 180 s.
const TIMEOUT_MS: i64 = 120_000;

/// After its time-out an attempt may still hold its thread about as long as the slowest client
/// would have waited.
const HOLD_MS: i64 = 180_000;

/// Cloudflare's challenge takes about 90 s when all is well: 120 s would abandon many that solve.
const CHALLENGE_TIMEOUT_MS: i64 = 300_000;

/// (method label, first poll in s, life of the answer in s)
const METHODS: &[(&str, i64, Option<i64>)] = &[
    ("base64", 1, None),
    ("post", 1, None),
    ("grid", 1, None),
    ("bls", 1, None),
    ("userrecaptcha", 15, Some(120)),
    ("userrecaptcha_enterprise", 15, Some(120)),
    ("userrecaptcha_v3", 10, Some(120)),
    ("userrecaptcha_v3_enterprise", 10, Some(120)),
    // Sources say 120 to 300 s.
    ("turnstile", 10, Some(120)),
    // 15 to 30 min, bound to proxy and user agent.
    ("cloudflare_challenge", 15, Some(900)),
    ("geetest", 15, Some(60)),
    ("geetest_v4", 15, Some(60)),
    // Nobody says how long these live: the life of the common tokens.
    ("captchafox", 10, Some(120)),
    ("friendly_captcha", 10, Some(120)),
    ("lemin", 10, Some(120)),
    ("hcaptcha", 10, Some(120)),
];

/// The terms of a method label; of an unknown one, the most common.
pub(super) fn terms(label: &str) -> Terms {
    let known = METHODS.iter().find(|(method, ..)| *method == label);
    let (first_poll_s, fresh_s) =
        known.map_or((10, Some(120)), |(_, first, fresh)| (*first, *fresh));
    let timeout_ms =
        if label == "cloudflare_challenge" { CHALLENGE_TIMEOUT_MS } else { TIMEOUT_MS };
    Terms {
        first_poll_ms: first_poll_s * 1_000,
        poll_gap_ms: GAP_MS,
        timeout_ms,
        hold_ms: HOLD_MS,
        fresh_ms: fresh_s.map(|s| s * 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_asked_for_soon_and_never_expire() {
        let image = terms("base64");
        assert_eq!((image.first_poll_ms, image.fresh_ms), (1_000, None));
        let token = terms("userrecaptcha");
        assert_eq!((token.first_poll_ms, token.fresh_ms), (15_000, Some(120_000)));
    }

    #[test]
    fn every_method_is_first_asked_for_well_before_its_time_out() {
        for (method, ..) in METHODS {
            let terms = terms(method);
            assert!(terms.first_poll_ms + 4 * terms.poll_gap_ms < terms.timeout_ms, "{method}");
            assert!(terms.poll_gap_ms >= 5_000 && terms.hold_ms > 0, "{method}");
        }
    }

    #[test]
    fn a_challenge_gets_longer_and_an_unknown_method_the_common_terms() {
        assert!(terms("cloudflare_challenge").timeout_ms > terms("turnstile").timeout_ms);
        assert_eq!(terms("never_heard_of").timeout_ms, 120_000);
    }
}
