//! The memory an allocator works in.

#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use super::depot::{Depot, Entry};
use super::magazine::Magazines;

/// Room for the ranges of one [`BfnAllocator`](super::BfnAllocator), with magazines for `CPUS` CPUs.
/// May be a `static`, which then takes no room in the image.
///
/// `RANGES` entries of 40 bytes: one for each range that is handed out or kept by a CPU, one for
/// each free range between these, and some for the ends of zones. Twice as many as will be handed
/// out at a time, and 256 for each CPU, is a good measure;
/// [`TooManyRanges`](super::BfnError::TooManyRanges) says that it was not enough. A CPU takes about
/// 14 KiB. More CPUs than `CPUS` share them, and none are possible: then each range comes from the
/// depot.
pub struct BfnStorage<const RANGES: usize, const CPUS: usize> {
    pub(super) depot: Mutex<Depot<[Entry; RANGES]>>,
    pub(super) magazines: [Mutex<Magazines>; CPUS],
    pub(super) claim: Claim,
}

impl<const RANGES: usize, const CPUS: usize> BfnStorage<RANGES, CPUS> {
    /// Storage that nobody uses.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            depot: Mutex::new(Depot::new([Entry::UNUSED; RANGES])),
            magazines: [const { Mutex::new(Magazines::EMPTY) }; CPUS],
            claim: Claim(AtomicBool::new(false)),
        }
    }
}

impl<const RANGES: usize, const CPUS: usize> Default for BfnStorage<RANGES, CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const RANGES: usize, const CPUS: usize> fmt::Debug for BfnStorage<RANGES, CPUS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BfnStorage").field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// Whether an allocator uses the storage.
#[derive(Debug)]
pub(super) struct Claim(AtomicBool);

impl Claim {
    /// The right to use the storage until it is dropped; `None` if somebody else has it.
    pub(super) fn take(&self) -> Option<Claimed<'_>> {
        if self.0.swap(true, Ordering::Acquire) { None } else { Some(Claimed(self)) }
    }
}

/// The right to use a storage.
#[derive(Debug)]
pub(super) struct Claimed<'m>(&'m Claim);

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}
