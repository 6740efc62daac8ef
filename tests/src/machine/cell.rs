//! The record of one RAM frame: a word that holds owner, type and reference count, so that all
//! three change in one step, and the contents.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use pviommu_abi::DomId;

use super::{
    contents::Contents,
    frames::{FrameKind, lock},
};

/// What the word of a frame says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) owner: DomId,
    pub(crate) kind: FrameKind,
    pub(crate) references: u16,
    /// Of these, for devices that may write.
    pub(crate) for_writing: u16,
    /// False until the frame is first used: its owner is then who finds it in its P2M.
    pub(crate) touched: bool,
    /// It has left its owner, and is freed when nothing holds it any more.
    pub(crate) leaving: bool,
    /// P2Ms of other domains that map it.
    pub(crate) holds: u16,
}

impl State {
    /// The state, or that of fresh memory of `domain` if nobody has used the frame yet.
    pub(crate) fn or_first_owner(self, domain: DomId) -> Self {
        if self.touched {
            self
        } else {
            Self {
                owner: domain,
                kind: FrameKind::Ram,
                references: 0,
                for_writing: 0,
                touched: true,
                leaving: false,
                holds: 0,
            }
        }
    }

    /// Frees a frame that is leaving, if nothing holds it any more; true if it does.
    pub(crate) fn settle(&mut self) -> bool {
        let gone = self.leaving && self.references == 0 && self.holds == 0;
        if gone {
            (self.kind, self.leaving) = (FrameKind::Free, false);
        }
        gone
    }

    /// Bits 15:0 references, 31:16 those for writing, 47:32 owner, 49:48 type, 50 touched, 51 leaving, 63:52 holds.
    fn pack(self) -> u64 {
        let kind = match self.kind {
            FrameKind::Ram => 0,
            FrameKind::GuestTable => 1,
            FrameKind::Hypervisor => 2,
            FrameKind::Free => 3,
        };
        u64::from(self.references)
            | u64::from(self.for_writing) << 16
            | u64::from(self.owner.0) << 32
            | kind << 48
            | u64::from(self.touched) << 50
            | u64::from(self.leaving) << 51
            | u64::from(self.holds) << 52
    }

    fn unpack(word: u64) -> Self {
        let kind = match word >> 48 & 3 {
            0 => FrameKind::Ram,
            1 => FrameKind::GuestTable,
            2 => FrameKind::Hypervisor,
            _ => FrameKind::Free,
        };
        Self {
            owner: DomId((word >> 32 & 0xffff) as u16),
            kind,
            references: (word & 0xffff) as u16,
            for_writing: (word >> 16 & 0xffff) as u16,
            touched: word >> 50 & 1 == 1,
            leaving: word >> 51 & 1 == 1,
            holds: (word >> 52) as u16,
        }
    }
}

/// The record of one RAM frame.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    word: AtomicU64,
    page: Mutex<Contents>,
}

/// `count` records of frames nobody has used.
pub(crate) fn row(count: usize) -> Box<[Cell]> {
    (0..count).map(|_| Cell::default()).collect()
}

impl Cell {
    pub(crate) fn load(&self) -> State {
        State::unpack(self.word.load(Ordering::Acquire))
    }

    /// Replaces the state by what `edit` makes of it, in one step.
    /// Returns what `edit` told with it.
    pub(crate) fn update<T, E>(
        &self,
        edit: impl Fn(State) -> Result<(State, T), E>,
    ) -> Result<T, E> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let (next, told) = edit(State::unpack(seen))?;
            let next = next.pack();
            match self.word.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(told),
                Err(now) => seen = now,
            }
        }
    }

    /// The contents.
    pub(crate) fn page(&self) -> MutexGuard<'_, Contents> {
        lock(&self.page)
    }
}
