//! Scratch pages: frames of the table pool that devices may read and write.
//!
//! A scratch page is what a context's unmapped bus frames hit. It belongs to one domain and one
//! table; what a device writes is what the service finds in its words.

use std::sync::atomic::{AtomicU64, Ordering};

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{addr::Mfn, platform::Pool};

use super::{
    book::Use,
    frames::{Reach, Refused},
    late::LateWrite,
    tables::{Tables, Words},
    violation::Violations,
};
use crate::{iommu::Landing, sync::quiet};

const WORD: usize = 8;

/// What devices did with scratch pages.
#[derive(Debug, Default)]
pub(super) struct ScratchUse {
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
}

/// The parts of `offset..offset + bytes` in each word: place of the word, first byte in it,
/// number of bytes.
fn parts(offset: usize, bytes: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = offset + bytes;
    (offset / WORD..end.div_ceil(WORD)).map(move |place| {
        let first = offset.max(place * WORD);
        (place, first % WORD, end.min((place + 1) * WORD) - first)
    })
}

fn load(words: &Words, offset: usize, to: &mut [u8]) {
    let mut rest = to;
    for (place, first, bytes) in parts(offset, rest.len()) {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(bytes);
        let word = quiet(&words[place]).load(Ordering::Acquire).to_le_bytes();
        now.copy_from_slice(&word[first..first + bytes]);
        rest = later;
    }
}

fn store(words: &Words, offset: usize, from: &[u8]) {
    let mut rest = from;
    for (place, first, bytes) in parts(offset, rest.len()) {
        let (now, later) = rest.split_at(bytes);
        // Other devices may write the other bytes of the word meanwhile.
        let _ = quiet(&words[place]).fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let mut word = word.to_le_bytes();
            word[first..first + bytes].copy_from_slice(now);
            Some(u64::from_le_bytes(word))
        });
        rest = later;
    }
}

impl Tables {
    /// A scratch page of zeros, charged to `domain`.
    pub fn alloc_scratch(&self, domain: DomId, violations: &Violations) -> Option<Mfn> {
        self.take(domain, Pool::Open, Use::Scratch, violations)
    }

    /// Takes a scratch page back.
    pub fn free_scratch(&self, domain: DomId, frame: Mfn, violations: &Violations) {
        self.give(domain, frame, Pool::Open, Use::Scratch, violations);
    }

    /// The domain that has the scratch page in `frame`, if that is one.
    #[must_use]
    pub fn scratch_owner(&self, frame: Mfn) -> Option<DomId> {
        self.scratch(frame).map(|(_, domain)| domain)
    }

    /// Notes that a table with this root leads to the scratch page in `frame`, and returns the
    /// root that did first.
    pub(crate) fn scratch_root(&self, frame: Mfn, root: Mfn) -> Mfn {
        let Some((page, _)) = self.scratch(frame) else { return root };
        let (order, seen) = (Ordering::AcqRel, Ordering::Acquire);
        page.root.compare_exchange(0, root.0, order, seen).map_or_else(Mfn, |_| root)
    }

    /// Notes that `device` reaches the scratch page in `frame`, and returns the one that did first.
    pub(crate) fn scratch_device(&self, frame: Mfn, device: PciDevice) -> PciDevice {
        let Some((page, _)) = self.scratch(frame) else { return device };
        let (order, seen) = (Ordering::AcqRel, Ordering::Acquire);
        let word = u64::from(device.sbdf()) + 1;
        let first =
            page.device.compare_exchange(0, word, order, seen).unwrap_or_else(|first| first);
        if first == 0 { device } else { PciDevice::from_sbdf((first - 1) as u32) }
    }

    /// Reads bytes of a scratch page as a device does.
    ///
    /// # Errors
    /// [`Refused`] if `frame` is none.
    pub(super) fn device_reads(
        &self,
        frame: Mfn,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), Refused> {
        self.late.settle(frame, |write| self.land(write));
        let (page, _) = self.scratch(frame).ok_or(Refused)?;
        self.scratch_use.reads.fetch_add(1, Ordering::Relaxed);
        load(&page.words, offset, to);
        Ok(())
    }

    /// Writes bytes of a scratch page as a device does, now or later.
    ///
    /// # Errors
    /// [`Refused`] if it leads to none.
    pub(super) fn device_writes(
        &self,
        at: &Landing,
        offset: usize,
        from: &[u8],
    ) -> Result<(), Refused> {
        let (page, _) = self.scratch(at.frame).ok_or(Refused)?;
        self.scratch_use.writes.fetch_add(1, Ordering::Relaxed);
        if self.late.keeps() {
            let write = LateWrite { at: *at, offset, bytes: from.into() };
            self.late.keep(write, |write| self.land(write));
        } else {
            store(&page.words, offset, from);
        }
        Ok(())
    }

    /// Carries a late write out, if there is a scratch page; what there is.
    pub(super) fn land(&self, write: &LateWrite) -> Reach {
        if let Some((page, _)) = self.scratch(write.at.frame) {
            store(&page.words, write.offset, &write.bytes);
        }
        self.reach(write.at.frame)
    }
}
