//! Small, stable hashing and pseudo-random numbers: the same input gives the same answer on every machine and release.

/// SplitMix64 (Steele, Lea and Flood, 2014): one multiplication chain a number, no state beyond a counter.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

/// The odd constant by which SplitMix64 steps: 2^64 divided by the golden ratio.
pub(super) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`, or 0 for a bound of 0. The bias of the remainder is far below anything measured here.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

/// SplitMix64's output function: turns a counter into 64 well mixed bits.
pub(super) const fn mix(counter: u64) -> u64 {
    let mut z = counter;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The top 53 bits of `bits` as a fraction in 0.0..1.0.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / 9_007_199_254_740_992.0
}

/// FNV-1a over 64 bits, of several fields: each is ended by its length, so that no two lists of fields run together.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(mut self, field: &[u8]) -> Self {
        for byte in field.iter().chain(&(field.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }

    pub(super) const fn finish(&self) -> u64 {
        mix(self.0)
    }
}
