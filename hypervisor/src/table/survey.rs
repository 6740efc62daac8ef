//! Looking at a live table: one walk entry by entry, and all that stands in it, run by run.
//!
//! Nothing is written and no lock bit is taken. What is told was true of each entry at some instant of
//! the call, not of all of them at one.

use pviommu_abi::Bfn;

use super::Table;
use crate::{
    addr::{BfnRange, Mfn},
    format::{Entry, Format, Leaf},
    platform::TableFrames,
    sync::Ordering,
};

/// What decides about a bus frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decides {
    /// The background: nobody mapped it.
    Vacant,
    /// An entry that is not present although the background is, or none that is written here.
    Blocked,
    /// A mapping; its frame is that of the first bus frame of [`Stretch::bfns`].
    Leaf(Leaf),
}

/// Bus frames that one entry decides about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The bus frames.
    pub bfns: BfnRange,
    /// The level of the table that the entry stands in.
    pub level: u8,
    /// What it says.
    pub decides: Decides,
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Walks to the entry that decides about `bfn`, and has `see` look at the level and the word of
    /// each on the way. `None`: it is beyond the table.
    pub fn trail(&self, bfn: Bfn, mut see: impl FnMut(u8, u64)) -> Option<Stretch> {
        let mut level = self.top_level();
        let mut table = self.root.frame;
        loop {
            let raw = self.place(table, level, bfn)?.entry.load(Ordering::Acquire);
            see(level, raw);
            let decides = match F::decode(raw, level) {
                _ if raw == self.beside.vacancy.word(level) => Decides::Vacant,
                Entry::Empty => Decides::Blocked,
                Entry::Leaf(leaf) => Decides::Leaf(leaf),
                Entry::Table(next) => {
                    table = next;
                    level = level.checked_sub(1)?;
                    continue;
                }
            };
            return Some(Stretch { bfns: Self::span(bfn, level), level, decides });
        }
    }

    /// Has `see` look at what is mapped or blocked from `from` on, in order, until it returns false or
    /// `looks` bus frames or vacant stretches were looked at; where to go on, or `None` at the end of
    /// the table.
    ///
    /// What is vacant is skipped by the table, so that a sparse table costs no more than its tables.
    pub fn survey(
        &self,
        from: Bfn,
        looks: u32,
        mut see: impl FnMut(&Stretch) -> bool,
    ) -> Option<Bfn> {
        let mut at = from;
        for _ in 0..looks {
            let found = self.trail(at, |_, _| ())?.from(at);
            if found.decides != Decides::Vacant && !see(&found) {
                return Some(at);
            }
            at = found.bfns.last().checked_add(1)?;
        }
        // At the end of the table there is nothing to go on with.
        self.place(self.root.frame, self.top_level(), at).map(|_| at)
    }
}

impl Stretch {
    /// What of it is not before `first`, one of its bus frames.
    #[must_use]
    pub fn from(self, first: Bfn) -> Self {
        let skipped = first.0.saturating_sub(self.bfns.first().0);
        let Some(bfns) = BfnRange::new(first, self.bfns.last()) else { return self };
        let decides = match self.decides {
            Decides::Leaf(leaf) => {
                Decides::Leaf(Leaf { frame: Mfn(leaf.frame.0.saturating_add(skipped)), ..leaf })
            }
            other => other,
        };
        Self { bfns, decides, ..self }
    }
}
