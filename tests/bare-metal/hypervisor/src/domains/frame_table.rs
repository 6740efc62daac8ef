//! The frame table: who owns each frame, and how many references keep it so.
//!
//! A record is one word, so that owner check, type check and reference are one atomic step.

use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_hypervisor::{
    abi::DomId,
    addr::{Mfn, MfnRange},
    platform::AcquireError,
};

use crate::machine::frames::FREE;

/// In bits 15 to 0 the owner.
const OWNER: u64 = 0xffff;
/// The frame is memory of a domain. Without it: the hypervisor's, or nobody's.
const RAM: u64 = 1 << 16;
/// From bit 32 on the number of references.
const ONE: u64 = 1 << 32;

/// A word for each frame.
pub struct FrameTable {
    records: &'static [AtomicU64],
    held: AtomicU64,
}

impl FrameTable {
    /// A table of all memory, which is the hypervisor's.
    #[must_use]
    pub fn new() -> Self {
        let records = FREE.place(FREE.end(), |_| AtomicU64::new(0));
        Self { records, held: AtomicU64::new(0) }
    }

    fn change(
        &self,
        frame: Mfn,
        change: impl Fn(u64) -> Result<u64, AcquireError>,
    ) -> Result<(), AcquireError> {
        let index = usize::try_from(frame.0).map_err(|_| AcquireError::NotBacked)?;
        let record = self.records.get(index).ok_or(AcquireError::NotBacked)?;
        let mut old = record.load(Ordering::Acquire);
        loop {
            let new = change(old)?;
            match record.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => old = now,
            }
        }
    }

    /// Makes a frame of the hypervisor memory of `owner`.
    ///
    /// # Errors
    /// It is not the hypervisor's.
    pub fn give(&self, frame: Mfn, owner: DomId) -> Result<(), AcquireError> {
        self.change(frame, |old| match old {
            0 => Ok(u64::from(owner.0) | RAM),
            _ => Err(AcquireError::NotPermitted),
        })
    }

    /// Makes a frame the hypervisor's again, if nothing holds it.
    ///
    /// # Errors
    /// A device may still reach it, so it must not be used for anything else.
    pub fn take(&self, frame: Mfn) -> Result<(), AcquireError> {
        self.change(frame, |old| if old < ONE { Ok(0) } else { Err(AcquireError::Retry) })
    }

    /// Takes a reference on a frame of `owner`.
    ///
    /// # Errors
    /// It is not that domain's memory, or there are too many.
    pub fn acquire(&self, frame: Mfn, owner: DomId) -> Result<(), AcquireError> {
        self.change(frame, |old| match old.checked_add(ONE) {
            _ if old & (OWNER | RAM) != u64::from(owner.0) | RAM => Err(AcquireError::NotPermitted),
            more => more.ok_or(AcquireError::Saturated),
        })?;
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives a reference back.
    pub fn release(&self, frame: Mfn) {
        let released =
            self.change(frame, |old| old.checked_sub(ONE).ok_or(AcquireError::NotPermitted));
        assert!(released.is_ok(), "{frame:?} was given back too often");
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// References on all frames together.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The first run of frames of `owner` at or after `from`.
    #[must_use]
    pub fn owned_from(&self, owner: DomId, from: Mfn) -> Option<MfnRange> {
        let owned = |record: &AtomicU64| {
            record.load(Ordering::Acquire) & (OWNER | RAM) == u64::from(owner.0) | RAM
        };
        let start = usize::try_from(from.0).ok()?;
        let ahead = self.records.get(start..)?.iter().position(owned)?;
        let rest = self.records.get(start + ahead..)?;
        let pages = rest.iter().position(|record| !owned(record)).unwrap_or(rest.len());
        MfnRange::of_pages(Mfn((start + ahead) as u64), pages as u64)
    }
}
