//! What a unit remembers as not present, under one tag.
//!
//! Only units that cache such entries do so, and they may cache them at every level: an upper entry
//! that was found not present hides all that has been put under it since, until the unit is told.

use rustc_hash::FxHashSet;

use super::walker::LEVEL_BITS;

/// Levels of the deepest table.
const LEVELS: usize = 5;

/// Spans without a translation.
#[derive(Debug, Default)]
pub(super) struct Absent {
    /// One set a level of the entry, by the part of the frame number that led to it.
    spans: [FxHashSet<u64>; LEVELS],
}

const fn shift(level: usize) -> u32 {
    LEVEL_BITS * level as u32
}

impl Absent {
    /// Remembers that the entry of `level` for `bfn` is not present.
    pub(super) fn insert(&mut self, bfn: u64, level: u8) {
        let level = usize::from(level) - 1;
        self.spans[level].insert(bfn >> shift(level));
    }

    /// True if `bfn` is in a span that was not present.
    pub(super) fn covers(&self, bfn: u64) -> bool {
        let mut spans = self.spans.iter().enumerate().filter(|(_, set)| !set.is_empty());
        spans.any(|(level, set)| set.contains(&(bfn >> shift(level))))
    }

    /// Forgets the spans that share a frame with `first..=last`; of leaf entries only, or all.
    pub(super) fn forget(&mut self, first: u64, last: u64, leaves_only: bool) {
        let levels = if leaves_only { 1 } else { LEVELS };
        for (level, set) in self.spans.iter_mut().enumerate().take(levels) {
            let keys = first >> shift(level)..=last >> shift(level);
            if keys.end() - keys.start() < set.len() as u64 {
                keys.for_each(|key| {
                    set.remove(&key);
                });
            } else {
                set.retain(|key| !keys.contains(key));
            }
        }
    }
}
