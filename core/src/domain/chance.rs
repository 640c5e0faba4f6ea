//! Chance as an argument: the same seed tells the same story. Good enough for jitter and for spreading work, and for
//! nothing that somebody must not guess.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number from 0 to below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        fraction_of(scramble(self.0))
    }
}

/// Where a number stands among all of 64 bits, from 0 to below 1.
pub(crate) fn fraction_of(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// SplitMix64's finish: every input bit reaches every output bit.
pub(crate) fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_published_ones_for_seed_0() {
        let mut chance = Chance::from_seed(0);
        for output in [0xE220_A839_7B1D_CDAF_u64, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F] {
            assert_eq!(chance.fraction(), fraction_of(output));
        }
        assert_eq!((fraction_of(0), fraction_of(1 << 63)), (0.0, 0.5));
        assert!(fraction_of(u64::MAX) < 1.0);
    }
}
