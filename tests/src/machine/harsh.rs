//! How unhelpful the machine is, and when: what hardware may do, this one does.

use std::sync::atomic::{AtomicU64, Ordering};

use super::p2m::mix;

/// What the machine does that it need not do. What a unit *is* (one that does not snoop, caches
/// what is not present, or has a write buffer) stands in its facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Harshness {
    /// At every so many-th step of the service a unit loads a translation that no device asked
    /// for, near those that were used last; 0 is never.
    pub prefetch: u32,
    /// So many frames have writes of devices waiting that arrive later, in any order; 0 is none.
    pub late_writes: usize,
    /// What a unit has found not present it takes for absent as a whole: under an upper entry,
    /// all its span.
    pub absent_spans: bool,
    /// A unit with a write buffer sees the tables as they were when it was last flushed.
    pub write_buffers: bool,
}

impl Harshness {
    /// All of it: the default.
    pub const ALL: Self =
        Self { prefetch: 1, late_writes: 32, absent_spans: true, write_buffers: true };

    /// A machine that does what it is asked and nothing else.
    pub const NONE: Self =
        Self { prefetch: 0, late_writes: 0, absent_spans: false, write_buffers: false };
}

impl Default for Harshness {
    fn default() -> Self {
        Self::ALL
    }
}

/// The instants at which hardware may do something of its own accord. The same every time with
/// one seed, as long as one thread makes them pass.
#[derive(Debug)]
pub(crate) struct Instants {
    every: u64,
    seed: u64,
    passed: AtomicU64,
}

impl Instants {
    pub(crate) fn new(every: u32, seed: u64) -> Self {
        Self { every: u64::from(every), seed, passed: AtomicU64::new(0) }
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Lets one pass; a random number if something is to happen.
    pub(crate) fn pass(&self) -> Option<Dice> {
        if self.every == 0 {
            return None;
        }
        let now = self.passed.fetch_add(1, Ordering::Relaxed);
        now.is_multiple_of(self.every).then(|| Dice::new(self.seed ^ now))
    }
}

/// Random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those that belong to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // The remainder is below `bound`, which is a `usize`.
        (mix(self.0) % bound as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
