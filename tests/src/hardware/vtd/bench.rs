//! A clock and the CPU's cache, as a driver asks for them.

use pviommu_hypervisor::{
    platform::Host,
    sync::{AtomicU64, Ordering},
};

use crate::hardware::Ram;

/// The machine around a unit. Its clock goes on by a microsecond whenever anybody looks at it, so a wait
/// is so many looks and takes no time.
#[derive(Debug)]
pub struct Bench<'f> {
    ram: &'f Ram,
    now: AtomicU64,
}

impl<'f> Bench<'f> {
    /// A machine with these ram.
    #[must_use]
    pub fn new(ram: &'f Ram) -> Self {
        Self { ram, now: AtomicU64::new(0) }
    }

    /// How often anybody has looked at the clock.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

impl Host for Bench<'_> {
    fn now_us(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed)
    }

    fn write_back(&self, words: &[AtomicU64]) {
        self.ram.write_back(words);
    }
}
