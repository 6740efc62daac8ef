//! Memory that a unit and its driver share.
#![expect(
    unsafe_code,
    reason = "memory is lent to drivers by the address at which the unit finds it"
)]

use std::sync::atomic::AtomicUsize;

use pviommu_hypervisor::{
    addr::Mfn,
    platform::UnitMemory,
    sync::{AtomicU64, Ordering},
};

/// Words of a page.
const PAGE: usize = 512;
/// Frames that are lent one after the other. What is stored there is in the CPU's caches, and in memory when
/// it was written back.
#[derive(Debug)]
pub struct Ram {
    /// The first frame.
    first: u64,
    words: Box<[AtomicU64]>,
    /// Where the first page begins in `words`.
    start: usize,
    memory: Box<[AtomicU64]>,
    lent: AtomicUsize,
}

fn filled(words: usize, with: u64) -> Box<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(with)).collect()
}

impl Ram {
    /// So many pages from frame `first` on, of which every word is `fill`.
    #[must_use]
    pub fn new(first: Mfn, pages: usize, fill: u64) -> Self {
        let words = filled((pages + 1) * PAGE, fill);
        let start = words.as_ptr().align_offset(PAGE * 8);
        let memory = filled(pages * PAGE, fill);
        Self { first: first.0, words, start, memory, lent: AtomicUsize::new(0) }
    }

    /// The next so many pages.
    #[must_use]
    pub fn lend(&self, pages: usize) -> UnitMemory<'_> {
        let first = self.lent.fetch_add(pages, Ordering::Relaxed);
        let words = &self.cached()[first * PAGE..][..pages * PAGE];
        // SAFETY: the unit looks for frames of these numbers here, each is lent once, and processors
        // that run these tests have the instruction.
        unsafe { UnitMemory::new(words, Mfn(self.first + first as u64)) }.unwrap()
    }

    fn cached(&self) -> &[AtomicU64] {
        &self.words[self.start..][..self.memory.len()]
    }

    /// The number of the word at `address`; `None` if there is no memory.
    pub(super) fn at(&self, address: u64) -> Option<usize> {
        let word = usize::try_from(address.checked_sub(self.first << 12)? / 8).ok()?;
        (word < self.memory.len()).then_some(word)
    }

    /// Writes words back, which are some of these.
    pub(super) fn write_back(&self, words: &[AtomicU64]) {
        let first = (words.as_ptr().addr() - self.cached().as_ptr().addr()) / 8;
        for (memory, word) in self.memory[first..].iter().zip(words) {
            memory.store(word.load(Ordering::Acquire), Ordering::Release);
        }
    }

    /// The words from `address` on, as a unit reads them that snoops, or one that does not.
    pub(super) fn read<const N: usize>(&self, address: u64, snoops: bool) -> Option<[u64; N]> {
        let first = self.at(address)?;
        let from = if snoops { self.cached() } else { &self.memory };
        let words = from.get(first..first + N)?;
        Some(std::array::from_fn(|number| words[number].load(Ordering::Acquire)))
    }

    /// All words from the first on, as a unit reads them that snoops, or one that does not.
    #[cfg(feature = "vtd")]
    pub(super) fn all(&self, snoops: bool) -> Vec<u64> {
        let from = if snoops { self.cached() } else { &self.memory };
        from.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    /// Two words at once, at a multiple of 16 bytes.
    pub(super) fn read_pair(&self, address: u64, snoops: bool) -> Option<[u64; 2]> {
        if !snoops {
            return self.read(address, false);
        }
        let first = self.at(address)?;
        let page = first / PAGE;
        let words = &self.cached()[page * PAGE..][..PAGE];
        // SAFETY: as in `lend`; nothing is changed.
        let page = unsafe { UnitMemory::new(words, Mfn(self.first + page as u64)) }?;
        page.change_pair(first % PAGE / 2, |words| words)
    }

    /// A unit's writes are always snooped.
    pub(super) fn write(&self, address: u64, values: &[u64]) {
        let Some(first) = self.at(address) else { return };
        for (number, value) in (first..).zip(values) {
            for copy in [self.cached(), &self.memory] {
                copy[number].store(*value, Ordering::Release);
            }
        }
    }
}
