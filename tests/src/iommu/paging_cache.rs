//! The paging-structure caches of one tag: where the upper levels lead.
//!
//! An entry says which table covers a stretch of bus frames. A leaf-only invalidation leaves it
//! alone, so after a table was replaced the unit goes on reading the old one until it is told to
//! forget the way, too.

use pviommu_hypervisor::addr::Mfn;
use rustc_hash::FxHashMap;

use super::{
    iotlb::keys_in,
    walker::{LEVEL_BITS, Place, Rights},
};

/// Tables below the root of the deepest walk.
const DEPTH: u8 = 4;

/// The cached ways to tables of one tag.
#[derive(Debug, Default)]
pub struct PagingCache {
    /// One map a level of the table that is named, by the part of the frame number above it.
    tables: [FxHashMap<u64, (Mfn, Rights)>; DEPTH as usize],
}

/// Bits of a frame number that a table of `level` and those below it resolve.
const fn shift(level: u8) -> u32 {
    LEVEL_BITS * level as u32
}

impl PagingCache {
    /// The deepest cached table on the way to `bfn`.
    #[must_use]
    pub fn find(&self, bfn: u64) -> Option<Place> {
        (1..=DEPTH).find_map(|level| {
            let map = &self.tables[usize::from(level) - 1];
            let &(table, rights) = map.get(&(bfn >> shift(level)))?;
            Some(Place { table, level, rights })
        })
    }

    /// Keeps the way to a table for `bfn`; returns the table it named before, if there was one.
    pub fn insert(&mut self, bfn: u64, place: Place) -> Option<Mfn> {
        let map = &mut self.tables[usize::from(place.level) - 1];
        let before = map.insert(bfn >> shift(place.level), (place.table, place.rights));
        before.map(|(table, _)| table)
    }

    /// Forgets the tables that cover a frame of `first..=last` and are not `kept`, and returns
    /// their frames.
    pub fn take(&mut self, first: u64, last: u64, kept: impl Fn(Mfn) -> bool) -> Vec<Mfn> {
        let mut taken = Vec::new();
        for level in 1..=DEPTH {
            let map = &mut self.tables[usize::from(level) - 1];
            for key in keys_in(map, first >> shift(level), last >> shift(level)) {
                if map.get(&key).is_some_and(|(table, _)| !kept(*table)) {
                    taken.extend(map.remove(&key).map(|(table, _)| table));
                }
            }
        }
        taken
    }

    /// Number of cached tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(FxHashMap::len).sum()
    }

    /// True if nothing is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
