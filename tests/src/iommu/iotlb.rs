//! The IOTLB of one tag: translations, kept until they are invalidated.
//!
//! It has no size: hardware may keep any of them for as long as it likes, so this one keeps all.

use pviommu_hypervisor::addr::Mfn;
use rustc_hash::FxHashMap;

use super::{
    soft::Soft,
    walker::{LEVEL_BITS, Rights},
};
use crate::machine::Basis;

/// Levels at which a page can be a leaf.
const LEAF_LEVELS: u8 = 3;

/// A cached translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cached {
    /// First bus frame of the page.
    pub bfn: u64,
    /// First machine frame of the page.
    pub frame: Mfn,
    /// Level of the leaf: 1 is 4 KiB, 2 is 2 MiB, 3 is 1 GiB.
    pub level: u8,
    /// What it permits.
    pub rights: Rights,
    /// What its entry noted.
    pub soft: Soft,
    /// By what right a device is there.
    pub basis: Basis,
}

impl Cached {
    /// Number of 4 KiB frames of the page.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        1 << shift(self.level)
    }

    /// The machine frame of `bfn`, which lies in the page.
    #[must_use]
    pub const fn frame_of(&self, bfn: u64) -> Mfn {
        Mfn(self.frame.0 + (bfn - self.bfn))
    }
}

const fn shift(level: u8) -> u32 {
    LEVEL_BITS * (level as u32 - 1)
}

/// The keys of `map` that are in `first..=last`, found whichever way is shorter.
pub(crate) fn keys_in<V>(map: &FxHashMap<u64, V>, first: u64, last: u64) -> Vec<u64> {
    if last - first < map.len() as u64 {
        (first..=last).filter(|key| map.contains_key(key)).collect()
    } else {
        map.keys().copied().filter(|key| (first..=last).contains(key)).collect()
    }
}

/// The cached translations of one tag.
#[derive(Debug, Default)]
pub struct Iotlb {
    /// One map a leaf size, by the number of the page of that size.
    pages: [FxHashMap<u64, Cached>; LEAF_LEVELS as usize],
}

impl Iotlb {
    /// The translation of `bfn`, if it is cached. Of several sizes the smallest is used: it is
    /// the one that a forgotten flush left behind when a large page was formed.
    #[must_use]
    pub fn find(&self, bfn: u64) -> Option<Cached> {
        (1..=LEAF_LEVELS).find_map(|level| {
            let map = &self.pages[usize::from(level) - 1];
            if map.is_empty() { None } else { map.get(&(bfn >> shift(level))).copied() }
        })
    }

    /// Keeps a translation.
    pub fn insert(&mut self, cached: Cached) {
        let map = &mut self.pages[usize::from(cached.level) - 1];
        map.insert(cached.bfn >> shift(cached.level), cached);
    }

    /// The translations that share a frame with `first..=last`: a large page as a whole.
    #[must_use]
    pub fn covered(&self, first: u64, last: u64) -> Vec<Cached> {
        let mut found = Vec::new();
        for level in 1..=LEAF_LEVELS {
            let map = &self.pages[usize::from(level) - 1];
            let keys = keys_in(map, first >> shift(level), last >> shift(level));
            found.extend(keys.iter().map(|key| map[key]));
        }
        found
    }

    /// Forgets a translation.
    pub fn remove(&mut self, cached: &Cached) {
        self.pages[usize::from(cached.level) - 1].remove(&(cached.bfn >> shift(cached.level)));
    }

    /// Number of cached translations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.iter().map(FxHashMap::len).sum()
    }

    /// True if nothing is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
