//! What the service does between two looks at whether to give way: the work that one call of a guest can
//! buy in one piece.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Tables looked into, one as often as it is; each has 512 entries.
    Tables,
    /// Entries of tables changed.
    Entries,
    /// Table frames and scratch pages allocated, freed, put aside or given back.
    Frames,
    /// Calls of `acquire`.
    Acquires,
    /// Pages of which references were given back.
    Released,
    /// Commands to units: invalidations, syncs of new entries.
    Commands,
    /// Entries of devices written.
    Devices,
    /// Copies to and from guest memory.
    Copies,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = Work::Copies as usize + 1;

impl Work {
    /// All of them.
    pub const ALL: [Self; KINDS] = [
        Self::Tables,
        Self::Entries,
        Self::Frames,
        Self::Acquires,
        Self::Released,
        Self::Commands,
        Self::Devices,
        Self::Copies,
    ];
}

/// How much of each kind there is in a piece.
pub type Piece = [u64; KINDS];

/// Counts by pieces, while it is asked to; of one CPU.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    counting: AtomicBool,
    now: [AtomicU64; KINDS],
    most: [AtomicU64; KINDS],
    all: [AtomicU64; KINDS],
}

impl Pieces {
    pub(crate) fn count(&self, work: Work, amount: u64) {
        if self.counting.load(Ordering::Relaxed) {
            self.now[work as usize].fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// A piece ends here.
    pub(crate) fn end(&self) {
        if self.counting.load(Ordering::Relaxed) {
            for ((now, most), all) in self.now.iter().zip(&self.most).zip(&self.all) {
                let now = now.swap(0, Ordering::Relaxed);
                most.fetch_max(now, Ordering::Relaxed);
                all.fetch_add(now, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn begin(&self) {
        let counts = self.now.iter().chain(&self.most).chain(&self.all);
        counts.for_each(|count| count.store(0, Ordering::Relaxed));
        self.counting.store(true, Ordering::Relaxed);
    }

    /// The most of each kind in any piece since the beginning, and all there was.
    pub(crate) fn stop(&self) -> (Piece, Piece) {
        self.end();
        self.counting.store(false, Ordering::Relaxed);
        let read = |counts: &[AtomicU64; KINDS]| {
            std::array::from_fn(|kind| counts[kind].load(Ordering::Relaxed))
        };
        (read(&self.most), read(&self.all))
    }
}
