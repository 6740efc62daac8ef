//! Reads a table from its root to its last leaf, as a unit would if devices tried every address.
//!
//! Each entry is read raw and judged by the walker of the units; the service is not asked.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{TableRoot, UnitFacts, UnitFeatures},
};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::entry::{Page, PageSize};
use super::format::Format;
use super::ranges::{Range, Ranges, What};
use crate::iommu::Rights;
use crate::iommu::walker::{Place, Step, Walk, follow};
use crate::machine::{Reach, memory::Memory};

const ENTRIES: usize = 512;
const INDEX_BITS: u32 = 9;

/// The frames that the tables of one level take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Level {
    /// The level; 1 is the lowest.
    pub level: u8,
    /// Tables that one entry leads to.
    pub own: u64,
    /// Tables that many entries lead to: those of the background.
    pub shared: u64,
}

/// All that one table translates.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    /// From low to high; what is in none of them faults.
    pub ranges: Vec<Range>,
    /// From the root down.
    pub tables: Vec<Level>,
    /// Bits of the bus frame numbers that can be translated.
    pub frame_bits: u32,
    /// The format of the entries.
    pub format: Format,
}

/// Reads the whole table at `root` through a unit of `facts`.
#[must_use]
pub fn survey(memory: &Memory, facts: &UnitFacts, root: TableRoot) -> Survey {
    let covered = INDEX_BITS * u32::from(root.levels);
    let frame_bits = covered.min(u32::from(facts.bus_address_bits).saturating_sub(12));
    let mut surveyor = Surveyor {
        memory,
        facts,
        limit: 1 << frame_bits,
        ranges: Ranges::default(),
        background: FxHashMap::default(),
        ways: FxHashMap::default(),
    };
    let top = Place { table: root.frame, level: root.levels, rights: Rights::ALL };
    surveyor.ways.insert((root.levels, root.frame.0), 1);
    surveyor.visit(top, 0);
    Survey {
        tables: (1..=root.levels).rev().map(|level| surveyor.count(level)).collect(),
        ranges: surveyor.ranges.finish(),
        frame_bits,
        format: facts.format.into(),
    }
}

struct Surveyor<'m> {
    memory: &'m Memory,
    facts: &'m UnitFacts,
    /// The first bus frame that the unit does not accept.
    limit: u64,
    ranges: Ranges,
    /// For each table that was looked at, by level and frame: the scratch page, if all of it leads
    /// there and nowhere else.
    background: FxHashMap<(u8, u64), Option<Mfn>>,
    /// How many entries lead to each table, by level and frame.
    ways: FxHashMap<(u8, u64), u64>,
}

impl Surveyor<'_> {
    fn entry(&self, place: Place, index: usize) -> Option<u64> {
        let coherent = self.facts.features.contains(UnitFeatures::COHERENT);
        self.memory.tables.entry(place.table, index, coherent)
    }

    /// Adds what the table at `place` translates, whose first bus frame is `first`.
    fn visit(&mut self, place: Place, first: u64) {
        let frames = 1 << (INDEX_BITS * u32::from(place.level - 1));
        for index in 0..ENTRIES {
            let bfn = first + index as u64 * frames;
            if bfn >= self.limit {
                break;
            }
            let Some(entry) = self.entry(place, index) else {
                self.ranges.push(bfn, frames, What::Broken, 0);
                continue;
            };
            match follow(self.facts, place, entry) {
                Step::Down(below) => {
                    *self.ways.entry((below.level, below.table.0)).or_default() += 1;
                    match self.background(below) {
                        Some(page) => self.ranges.push(bfn, frames, What::Scratch, page.0),
                        None => self.visit(below, bfn),
                    }
                }
                Step::Ended(Walk::NotPresent { .. }) => {}
                Step::Ended(Walk::Leaf { frame, level, rights, .. }) => {
                    let what = match PageSize::of_level(level) {
                        _ if self.is_scratch(frame) => What::Scratch,
                        Some(size) => {
                            What::Page(Page::decode(self.facts.format, entry, size, rights))
                        }
                        None => What::Broken,
                    };
                    self.ranges.push(bfn, frames, what, frame.0);
                }
                Step::Ended(
                    Walk::LeftBehind { .. } | Walk::Reserved { .. } | Walk::BadTable { .. },
                ) => self.ranges.push(bfn, frames, What::Broken, 0),
            }
        }
    }

    fn is_scratch(&self, frame: Mfn) -> bool {
        self.memory.reach(frame) == Reach::Scratch
    }

    /// The scratch page, if the table at `place` leads to it and nowhere else.
    ///
    /// Each table is looked at once: the shared ones stand for most of the address space.
    fn background(&mut self, place: Place) -> Option<Mfn> {
        let key = (place.level, place.table.0);
        if let Some(known) = self.background.get(&key) {
            return *known;
        }
        let mut below = Vec::new();
        let mut found = None;
        let all = (0..ENTRIES).all(|index| {
            let Some(entry) = self.entry(place, index) else { return false };
            let page = match follow(self.facts, place, entry) {
                Step::Down(next) => {
                    below.push((next.level, next.table.0));
                    self.background(next)
                }
                Step::Ended(Walk::Leaf { frame, .. }) if self.is_scratch(frame) => Some(frame),
                Step::Ended(_) => None,
            };
            page.is_some() && *found.get_or_insert(page) == page
        });
        let page = found.flatten().filter(|_| all);
        if page.is_some() {
            // Nobody visits it, so the ways from it are counted here.
            for key in below {
                *self.ways.entry(key).or_default() += 1;
            }
        }
        self.background.insert(key, page);
        page
    }

    fn count(&self, level: u8) -> Level {
        let of_level = |shared: bool| {
            let ways = self.ways.iter().filter(|((its, _), _)| *its == level);
            ways.filter(|(_, ways)| (**ways > 1) == shared).count() as u64
        };
        Level { level, own: of_level(false), shared: of_level(true) }
    }
}
