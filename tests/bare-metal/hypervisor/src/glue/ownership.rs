//! Which pages a device may be let at, and the references that keep them.
#![expect(unsafe_code, reason = "who implements the trait vouches for what devices reach")]

use pviommu_hypervisor::{
    DefaultMap,
    abi::{Bfn, DomId, Gfn},
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::{Access, AcquireError, InitialRun, PageKind, PageOwnership, Run, Runs, Wanted},
    topology::frames_of,
};

use super::Platform;
use crate::domains::{Backed, P2m};

impl Platform {
    /// Takes a reference on each page of a run, all or none.
    fn hold(&self, owner: DomId, frames: MfnRange) -> Result<(), AcquireError> {
        let (first, last) = (frames.first().0, frames.last().0);
        for frame in first..=last {
            if let Err(error) = self.frames.acquire(Mfn(frame), owner) {
                (first..frame).for_each(|frame| self.frames.release(Mfn(frame)));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Acquires a range, run by run, under the lock of the P2M.
    fn acquire_range(
        &self,
        p2m: &P2m,
        owner: DomId,
        gfns: GfnRange,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let (mut gfn, mut left) = (gfns.first(), gfns.pages());
        while left > 0 && !out.is_full() {
            let backed = p2m.lookup(gfn, left).ok_or(AcquireError::NotBacked)?;
            let Backed { frame, pages, mmio, access: greatest } = backed;
            let access = if mmio { access & greatest } else { access };
            if access.is_empty() || !greatest.contains(access) {
                return Err(AcquireError::NotPermitted);
            }
            let frames = MfnRange::of_pages(frame, pages).ok_or(AcquireError::NotBacked)?;
            let kind = if mmio { PageKind::Mmio } else { PageKind::Ram };
            if !mmio {
                self.hold(owner, frames)?;
            }
            // There is room for one more.
            let _ = out.push(Run { frames, kind, access });
            (gfn, left) = (Gfn(gfn.0 + pages), left - pages);
        }
        Ok(())
    }
}

// SAFETY: a frame's owner and its references are one word that changes in one step, and only a frame without
// references changes hands (`frames.rs`). Tables and what is the hypervisor's have no owner, and are refused.
unsafe impl PageOwnership for Platform {
    fn acquire(
        &self,
        _domain: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        // There are no grants here. Frames of another owner only the hardware domain asks for.
        let Wanted::Guest { owner, gfns } = wanted else { return Err(AcquireError::NotPermitted) };
        let p2m = &self.domain(owner).ok_or(AcquireError::NotBacked)?.p2m;
        let _held = p2m.lock.lock();
        self.acquire_range(p2m, owner, gfns, access, out)
    }

    fn acquire_list(
        &self,
        _domain: DomId,
        owner: DomId,
        gfns: &[Gfn],
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let p2m = &self.domain(owner).ok_or(AcquireError::NotBacked)?.p2m;
        // The lock is taken once for all of them.
        let _held = p2m.lock.lock();
        // Once the list is full, nothing more is acquired.
        gfns.iter()
            .try_for_each(|gfn| self.acquire_range(p2m, owner, GfnRange::single(*gfn), access, out))
    }

    fn release(&self, _domain: DomId, run: &Run) {
        (run.frames.first().0..=run.frames.last().0)
            .for_each(|frame| self.frames.release(Mfn(frame)));
    }

    fn initial_map(&self, domain: DomId, from: Bfn) -> Option<InitialRun> {
        let record = self.domain(domain)?;
        let (first, pages) = if record.iommu.default_map() == DefaultMap::Host {
            let run = self.frames.owned_from(domain, Mfn(from.0))?;
            (run.first().0, run.pages())
        } else {
            let backed = |gfn: &u64| record.p2m.frame(Gfn(*gfn)).is_some();
            let first = (from.0..record.p2m.pages()).find(backed)?;
            let last = (first..record.p2m.pages()).take_while(backed).last()?;
            (first, last - first + 1)
        };
        let bfns = BfnRange::of_pages(Bfn(first), pages)?;
        Some(InitialRun { bfns, access: Access::all() })
    }

    fn may_be_direct(&self, frames: MfnRange) -> bool {
        // Only what firmware told of; and the loader's memory map had none of that for free.
        self.direct
            .iter()
            .filter_map(|range| frames_of(range.bytes))
            .any(|range| range.first().0 <= frames.first().0 && frames.last().0 <= range.last().0)
    }
}
