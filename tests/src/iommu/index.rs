//! Which frames a unit's caches and device entries name, so that "may anything still reach this
//! frame?" does not take a search.

use pviommu_hypervisor::addr::Mfn;
use rustc_hash::FxHashMap;

use super::{iotlb::Cached, walker::LEVEL_BITS};
use crate::machine::Basis;

type Counts = FxHashMap<u64, u32>;

fn add(counts: &mut Counts, key: u64) {
    *counts.entry(key).or_default() += 1;
}

fn remove(counts: &mut Counts, key: u64) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// How often each frame is named.
#[derive(Debug, Default)]
pub struct Index {
    /// Cached pages by their basis, one map a size, by the number of the machine page of that size.
    pages: [[Counts; 3]; Basis::COUNT],
    tables: Counts,
}

impl Index {
    /// Counts a cached translation.
    pub fn add_page(&mut self, cached: &Cached) {
        let level = usize::from(cached.level) - 1;
        add(
            &mut self.pages[cached.basis as usize][level],
            cached.frame.0 >> (LEVEL_BITS * level as u32),
        );
    }

    /// Takes a cached translation out of the count.
    pub fn remove_page(&mut self, cached: &Cached) {
        let level = usize::from(cached.level) - 1;
        remove(
            &mut self.pages[cached.basis as usize][level],
            cached.frame.0 >> (LEVEL_BITS * level as u32),
        );
    }

    /// Counts a table that a cache or a device entry names.
    pub fn add_table(&mut self, frame: Mfn) {
        add(&mut self.tables, frame.0);
    }

    /// Takes a named table out of the count.
    pub fn remove_table(&mut self, frame: Mfn) {
        remove(&mut self.tables, frame.0);
    }

    /// True if some cached translation leads to `frame`.
    #[must_use]
    pub fn names_page(&self, frame: Mfn) -> bool {
        Basis::ALL.iter().any(|basis| self.names_page_by(*basis, frame))
    }

    /// True if some cached translation of this basis leads to `frame`.
    #[must_use]
    pub fn names_page_by(&self, basis: Basis, frame: Mfn) -> bool {
        self.pages[basis as usize]
            .iter()
            .zip([0, LEVEL_BITS, 2 * LEVEL_BITS])
            .any(|(counts, shift)| !counts.is_empty() && counts.contains_key(&(frame.0 >> shift)))
    }

    /// True if no translation is cached at all.
    #[must_use]
    pub fn has_no_pages(&self) -> bool {
        self.pages.iter().flatten().all(FxHashMap::is_empty)
    }

    /// True if some cache or device entry names the table in `frame`.
    #[must_use]
    pub fn names_table(&self, frame: Mfn) -> bool {
        self.tables.contains_key(&frame.0)
    }
}
