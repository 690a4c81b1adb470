//! Seeded draws that depend on what is asked, not on who asked first.
//!
//! A draw is a hash of the seed and of the thing it is drawn for (page, how many times that page
//! came, rule). Two runs whose requests arrive in another order therefore see the same fate for
//! the same task. No cryptography: anybody may predict these numbers.

/// FNV-1a's published 64-bit offset basis and prime.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice {
    seed: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    /// 64 bits for this purpose and these parts.
    pub(crate) fn bits(self, purpose: &str, parts: &[&str], n: u64) -> u64 {
        let mut hash = FNV_BASIS ^ self.seed;
        for part in std::iter::once(&purpose).chain(parts) {
            for byte in part.bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
            }
            // Separates ("ab", "c") from ("a", "bc").
            hash = (hash ^ 0xff).wrapping_mul(FNV_PRIME);
        }
        mix(hash ^ mix(n))
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn share(self, purpose: &str, parts: &[&str], n: u64) -> f64 {
        unit(self.bits(purpose, parts, n))
    }

    /// A log-normal draw with this median, in the median's unit; `spread` is sigma of the logarithm.
    pub(crate) fn log_normal(self, median: f64, spread: f64, parts: &[&str], n: u64) -> f64 {
        // Box and Muller's transform; 1 - u keeps the logarithm's argument above zero.
        let radius = (-2.0 * (1.0 - self.share("radius", parts, n)).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.share("angle", parts, n);
        median * (spread * radius * angle.cos()).exp()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): spreads every input bit.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits as a fraction: all that an f64 holds exactly.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_gives_the_same_draw_and_another_seed_another_one() {
        let ask = |seed| Dice::new(seed).bits("rule", &["https://shop.example", "1"], 3);
        assert_eq!(ask(7), ask(7));
        assert_ne!(ask(7), ask(8));
    }

    #[test]
    fn shares_spread_evenly() {
        let dice = Dice::new(1);
        let below = (0..10_000).filter(|n| dice.share("rate", &["p"], *n) < 0.3).count();
        assert!((2_800..3_200).contains(&below), "{below} of 10,000 below 0.3");
    }

    #[test]
    fn half_of_all_log_normal_draws_lie_below_the_median() {
        let dice = Dice::new(1);
        let below = (0..10_000).filter(|n| dice.log_normal(37.0, 0.4, &["p"], *n) < 37.0).count();
        assert!((4_800..5_200).contains(&below), "{below} of 10,000 below the median");
    }
}
