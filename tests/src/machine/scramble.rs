//! A keyed permutation, for scattering pages without a list of where they went.

/// A permutation of the numbers below `size`, chosen by a seed: a Feistel network over the next
/// even number of bits, walked until it lands below `size`.
#[derive(Clone, Copy, Debug)]
pub struct Scramble {
    pub(super) size: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Scramble {
    /// The permutation of `0..size` that belongs to `seed`.
    #[must_use]
    pub fn new(size: u64, seed: u64) -> Self {
        let bits = 64 - size.max(2).saturating_sub(1).leading_zeros();
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        Self { size, half_bits: bits.div_ceil(2), keys }
    }

    /// What went to `place`, which is below the size.
    #[must_use]
    pub fn invert(&self, place: u64) -> u64 {
        debug_assert!(place < self.size, "permuted number out of range");
        let mask = (1_u64 << self.half_bits) - 1;
        let mut at = place;
        loop {
            let (mut left, mut right) = (at >> self.half_bits, at & mask);
            for key in self.keys.iter().rev() {
                (left, right) = (right ^ (mix(left ^ key) & mask), left);
            }
            at = left << self.half_bits | right;
            if at < self.size {
                return at;
            }
        }
    }

    /// Where `index`, which is below the size, goes.
    #[must_use]
    pub fn apply(&self, index: u64) -> u64 {
        debug_assert!(index < self.size, "permuted number out of range");
        let mask = (1_u64 << self.half_bits) - 1;
        let mut at = index;
        loop {
            let (mut left, mut right) = (at >> self.half_bits, at & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            at = left << self.half_bits | right;
            if at < self.size {
                return at;
            }
        }
    }
}

/// The finaliser of splitmix64.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
