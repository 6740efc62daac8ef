//! What a unit reads that is behind a write buffer: tables as they were when it was last flushed.
//!
//! The buffer keeps no stores, but what was there before: a copy of each table that the unit has
//! come to, made when the unit was flushed, or when it first came there. Copies are made from the
//! root downwards, so that a table is never older than the entry that leads to it, as stores that
//! arrive in order have it.

use std::sync::atomic::Ordering;

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{TABLE_ENTRIES, UnitFacts, UnitFeatures},
};
use rustc_hash::FxHashMap;

use super::walker::{self, Place, Step};
use crate::machine::tables::Tables;

/// Most tables of which there is a copy; others are read as they are.
const MOST: usize = 64;

type Words = Box<[u64; TABLE_ENTRIES]>;

/// The words of a table, of those that are alike and follow each other the first: tables over scratch are
/// full of them.
fn each(words: &[u64; TABLE_ENTRIES]) -> impl Iterator<Item = u64> {
    let first = words.first().copied();
    let others = words.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| pair[1]);
    first.into_iter().chain(others)
}

/// The copies; none if the unit has no buffer.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    on: bool,
    copies: FxHashMap<u64, (Place, Words)>,
}

impl WriteBuffer {
    /// That of a unit of these facts, if it has one.
    pub(super) fn of(facts: &UnitFacts) -> Self {
        let on = facts.features.contains(UnitFeatures::WRITE_BUFFER);
        Self { on, ..Self::default() }
    }

    /// The entry of the table at `place` as the unit reads it, `None` if that is no table.
    pub(super) fn entry(
        &mut self,
        tables: &Tables,
        facts: &UnitFacts,
        place: Place,
        index: usize,
    ) -> Option<u64> {
        let coherent = facts.features.contains(UnitFeatures::COHERENT);
        let now = tables.entry(place.table, index, coherent)?;
        if !self.on {
            return Some(now);
        }
        if !self.copies.contains_key(&place.table.0) {
            self.copy(tables, facts, place);
        }
        Some(self.copies.get(&place.table.0).map_or(now, |(_, words)| words[index]))
    }

    /// The entries of the table at `place` as the unit reads them, of those that are alike and follow each
    /// other the first; none if that is no table.
    pub(super) fn different(
        &mut self,
        tables: &Tables,
        facts: &UnitFacts,
        place: Place,
    ) -> Vec<u64> {
        let coherent = facts.features.contains(UnitFeatures::COHERENT);
        let Some(now) = tables.entries(place.table, coherent) else { return Vec::new() };
        if self.on && !self.copies.contains_key(&place.table.0) {
            self.copy(tables, facts, place);
        }
        match self.copies.get(&place.table.0) {
            Some((_, words)) => each(words).collect(),
            None => {
                let now = std::array::from_fn(|index| now[index].load(Ordering::Acquire));
                each(&now).collect()
            }
        }
    }

    /// Makes all stores visible that were made so far.
    pub(super) fn flush(&mut self, tables: &Tables, facts: &UnitFacts) {
        let mut known: Vec<Place> = self.copies.values().map(|(place, _)| *place).collect();
        known.sort_unstable_by_key(|place| (u8::MAX - place.level, place.table.0));
        for place in known {
            self.copy(tables, facts, place);
        }
    }

    /// Copies the table at `place`, and the tables below it that were not known.
    pub(super) fn copy(&mut self, tables: &Tables, facts: &UnitFacts, place: Place) {
        let coherent = facts.features.contains(UnitFeatures::COHERENT);
        let room = self.copies.len() < MOST || self.copies.contains_key(&place.table.0);
        if !self.on || !room {
            return;
        }
        let Some(now) = tables.entries(place.table, coherent) else {
            self.copies.remove(&place.table.0);
            return;
        };
        let words = Box::new(std::array::from_fn(|index| now[index].load(Ordering::Acquire)));
        let below = each(&words).filter_map(|word| match walker::follow(facts, place, word) {
            Step::Down(below) => Some(below),
            Step::Ended(_) => None,
        });
        let below: Vec<Place> = below.collect();
        self.copies.insert(place.table.0, (place, words));
        for place in below {
            if !self.copies.contains_key(&place.table.0) {
                self.copy(tables, facts, place);
            }
        }
    }

    /// Drops the copy of a table that is no more.
    pub(super) fn forget(&mut self, table: Mfn) {
        self.copies.remove(&table.0);
    }
}
