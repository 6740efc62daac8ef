//! The frame table: for every machine frame its owner, its type, the references held for
//! devices, and its contents.
//!
//! Sparse twice over: the record of a frame exists from the first time a chunk of frames is
//! touched, its contents from the first time they are written. All of it is reached through
//! `&self` without a lock, because units, devices and CPUs use it at the same time.

use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::AcquireError,
};
use rustc_hash::FxHashMap;

use super::{
    cell::{self, Cell, State},
    contents::Contents,
    late::Late,
};

pub use super::reach::{FrameInfo, FrameKind, Reach, Refused};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;

/// Frames whose records are allocated together.
const CHUNK: usize = 512;

/// A stretch of machine frames backed alike.
#[derive(Debug)]
pub(super) struct Region {
    first: u64,
    last: u64,
    pub(super) backing: Backing,
}

#[derive(Debug)]
pub(super) enum Backing {
    /// RAM at every `stride`-th frame; what lies between is nobody's.
    Ram { stride: u64, chunks: Box<[OnceLock<Box<[Cell]>>]> },
    /// Registers, or memory that firmware keeps for a device.
    Mmio(Mutex<FxHashMap<u64, Contents>>),
}

/// The frame table. Regions are added while the machine is built and never change.
#[derive(Debug)]
pub struct Frames {
    regions: Vec<Region>,
    max_references: u16,
    references: AtomicU64,
    /// Operations that took or gave back one of them, so far.
    counted: AtomicU64,
    pub(super) late: Late,
}

impl Frames {
    /// A table without frames, whose reference counts stop at `max_references`.
    #[must_use]
    pub fn new(max_references: u16) -> Self {
        let (references, counted) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { regions: Vec::new(), max_references, references, counted, late: Late::none() }
    }

    /// Adds RAM: `pages` frames, the first at `first`, each `stride` after the one before.
    ///
    /// # Panics
    /// If the range overlaps another.
    pub fn add_ram(&mut self, first: Mfn, pages: u64, stride: u64) {
        if pages > 0 {
            let chunks = usize::try_from(pages).unwrap().div_ceil(CHUNK);
            let chunks = (0..chunks).map(|_| OnceLock::new()).collect();
            self.add(first, pages * stride, Backing::Ram { stride, chunks });
        }
    }

    /// Adds `pages` frames of registers or of firmware memory.
    ///
    /// # Panics
    /// If the range overlaps another.
    pub fn add_mmio(&mut self, first: Mfn, pages: u64) {
        self.add(first, pages, Backing::Mmio(Mutex::default()));
    }

    fn add(&mut self, first: Mfn, pages: u64, backing: Backing) {
        let region = Region { first: first.0, last: first.0 + pages - 1, backing };
        let at = self.regions.partition_point(|r| r.last < region.first);
        assert!(
            self.regions.get(at).is_none_or(|next| next.first > region.last),
            "machine frames {:#x}..={:#x} are backed twice",
            region.first,
            region.last
        );
        self.regions.insert(at, region);
    }

    /// The first region of RAM that ends at or after `from`, with what lies between its frames.
    #[must_use]
    pub fn ram_from(&self, from: Mfn) -> Option<MfnRange> {
        let ram = |region: &&Region| matches!(region.backing, Backing::Ram { .. });
        let mut regions = self.regions.iter().filter(ram);
        let region = regions.find(|region| region.last >= from.0)?;
        MfnRange::new(Mfn(region.first), Mfn(region.last))
    }

    pub(super) fn region(&self, frame: Mfn) -> Option<&Region> {
        let at = self.regions.partition_point(|r| r.last < frame.0);
        self.regions.get(at).filter(|r| r.first <= frame.0)
    }

    /// The record of a RAM frame.
    pub(super) fn cell(&self, frame: Mfn) -> Option<&Cell> {
        let region = self.region(frame)?;
        let Backing::Ram { stride, chunks } = &region.backing else { return None };
        let offset = frame.0 - region.first;
        if !offset.is_multiple_of(*stride) {
            return None;
        }
        let index = usize::try_from(offset / stride).unwrap();
        let chunk = chunks[index / CHUNK].get_or_init(|| cell::row(CHUNK));
        Some(&chunk[index % CHUNK])
    }

    /// Takes a reference on a frame of `domain` for a device that reads, and writes if `write`:
    /// owner check, type check and reference in one step (INV-22).
    ///
    /// # Errors
    /// Why not.
    pub fn acquire(&self, frame: Mfn, domain: DomId, write: bool) -> Result<(), AcquireError> {
        let cell = self.cell(frame).ok_or(AcquireError::NotBacked)?;
        let max = self.max_references;
        cell.update(|state| {
            let mut state = state.or_first_owner(domain);
            let permits = match state.kind {
                FrameKind::Ram => true,
                FrameKind::GuestTable => !write,
                FrameKind::Hypervisor | FrameKind::Free => false,
            };
            if state.owner != domain || !permits {
                return Err(AcquireError::NotPermitted);
            }
            if state.references >= max {
                return Err(AcquireError::Saturated);
            }
            state.references += 1;
            state.for_writing += u16::from(write);
            Ok((state, ()))
        })
    }

    /// Gives back a reference that `domain` took for a device that reads, and writes if `write`.
    ///
    /// # Errors
    /// [`Refused`] if no such reference is held.
    pub fn release(&self, frame: Mfn, domain: DomId, write: bool) -> Result<(), Refused> {
        let cell = self.cell(frame).ok_or(Refused)?;
        let freed = cell.update(|mut state| {
            if state.owner != domain {
                return Err(Refused);
            }
            let for_reading = state.references - state.for_writing;
            let alike = if write { state.for_writing } else { for_reading };
            if alike == 0 {
                return Err(Refused);
            }
            state.references -= 1;
            state.for_writing -= u16::from(write);
            let freed = state.settle();
            Ok((state, freed))
        })?;
        if freed {
            Self::poison(cell);
        }
        self.late.given_up(frame, || self.reach(frame));
        Ok(())
    }

    /// Keeps the machine's count of references; by range, since one word is shared by all CPUs.
    pub(crate) fn count_references(&self, taken: u64, given_back: u64) {
        self.references.fetch_add(taken.wrapping_sub(given_back), Ordering::Relaxed);
        self.counted.fetch_add(taken.wrapping_add(given_back), Ordering::Relaxed);
    }

    /// References taken and references given back so far, together.
    #[must_use]
    pub fn references_counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// References held on all frames together.
    #[must_use]
    pub fn references_live(&self) -> u64 {
        self.references.load(Ordering::Relaxed)
    }

    /// What a device finds at `frame`.
    #[must_use]
    pub fn reach(&self, frame: Mfn) -> Reach {
        let Some(region) = self.region(frame) else { return Reach::Forbidden };
        if matches!(region.backing, Backing::Mmio(_)) {
            return Reach::Mmio;
        }
        let Some(cell) = self.cell(frame) else { return Reach::Forbidden };
        let state = cell.load();
        match state.kind {
            FrameKind::Free => Reach::Free,
            FrameKind::Hypervisor => Reach::Forbidden,
            _ if state.references > 0 => Reach::Held,
            _ => Reach::NotHeld,
        }
    }

    /// The record of a RAM frame, or `None` if `frame` is not one. A frame that nothing has
    /// touched yet is told as RAM of domain 0.
    #[must_use]
    pub fn info(&self, frame: Mfn) -> Option<FrameInfo> {
        let State { owner, kind, references, leaving, touched, .. } = self.cell(frame)?.load();
        let references = u32::from(references);
        Some(FrameInfo { owner, kind, references, leaving, touched })
    }

    /// Frees a frame and fills it with a pattern, so that a late reader notices.
    ///
    /// # Errors
    /// [`Refused`] while references are held: the last of them delays the freeing.
    pub fn free(&self, frame: Mfn) -> Result<(), Refused> {
        self.change(frame, |state| state.kind = FrameKind::Free)?;
        Self::poison(self.cell(frame).ok_or(Refused)?);
        self.late.given_up(frame, || self.reach(frame));
        Ok(())
    }

    /// Fills a frame that is free with a pattern, so that a late reader notices.
    pub(super) fn poison(cell: &Cell) {
        *cell.page() = Contents::filled(0xd5);
    }

    /// Gives a frame to `owner`, as ordinary memory of zeros.
    ///
    /// # Errors
    /// [`Refused`] while references are held.
    pub fn give(&self, frame: Mfn, owner: DomId) -> Result<(), Refused> {
        self.change(frame, |state| {
            state.owner = owner;
            state.kind = FrameKind::Ram;
        })?;
        *self.cell(frame).ok_or(Refused)?.page() = Contents::default();
        Ok(())
    }

    /// Changes what a frame of `owner` is used for.
    ///
    /// # Errors
    /// [`Refused`] while references are held: they hold the type, too.
    pub fn set_kind(&self, frame: Mfn, owner: DomId, kind: FrameKind) -> Result<(), Refused> {
        self.change(frame, |state| {
            *state = state.or_first_owner(owner);
            state.kind = kind;
        })
    }

    fn change(&self, frame: Mfn, edit: impl Fn(&mut State)) -> Result<(), Refused> {
        self.cell(frame).ok_or(Refused)?.update(|mut state| {
            if state.references > 0 || state.holds > 0 {
                return Err(Refused);
            }
            edit(&mut state);
            state.touched = true;
            Ok((state, ()))
        })
    }
}

/// Locks; a check that failed in another thread must not hide behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
