//! Numbers by chance: the same each time, so that what goes wrong goes wrong again.

/// xorshift64*.
pub struct Chance(pub u64);

impl Chance {
    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.any() >> 16) % limit
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, now and then something else altogether.
    pub fn mostly<const N: usize>(&mut self, usual: [u64; N]) -> u64 {
        if self.one_in(12) { self.any() } else { usual[self.below(N as u64) as usize] }
    }
}
