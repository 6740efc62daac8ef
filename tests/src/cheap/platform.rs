//! The platform traits, as cheap as an embedder's can be.
#![expect(unsafe_code, reason = "three of the platform traits are unsafe to implement")]

use std::hint::black_box;

use pviommu_abi::{Bfn, DomId, Gfn, GuestPtr, PciDevice};
use pviommu_hypervisor::{
    DomainIommu,
    addr::{BfnRange, Mfn, MfnRange},
    platform::{
        Access, AccessPolicy, AcquireError, AttachError, CopyFault, Devices, Domains, GuestMemory,
        InitialRun, Invalidation, IommuHw, PageOwnership, Pool, Preempt, Run, Runs, SourceId,
        TableFrames, TableRoot, Tag, UnitError, UnitId, Wanted,
    },
    sync::AtomicU64,
};

use super::{Arena, Buffers, Pages};

/// The platform.
#[derive(Debug)]
pub struct Cheap {
    /// Table frames.
    pub arena: &'static Arena,
    /// Pages of the guest.
    pub pages: Pages,
    /// Where the guest keeps arguments.
    pub buffers: Buffers,
    /// The map that the hardware domain starts with, in order.
    pub initial: Vec<InitialRun>,
}

impl GuestMemory for Cheap {
    #[inline]
    fn copy_in(&self, _: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        self.buffers.read(from, to)
    }

    #[inline]
    fn copy_out(&self, _: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        self.buffers.write(to, from)
    }
}

// SAFETY: owner, type and count are one word, checked and counted in one step; nothing is ever freed,
// and no device reaches anything.
unsafe impl PageOwnership for Cheap {
    #[inline]
    fn acquire(
        &self,
        _: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        match wanted {
            Wanted::Guest { owner, gfns } => self.pages.acquire(owner, gfns, access, out),
            _ => Err(AcquireError::NotPermitted),
        }
    }

    #[inline]
    fn acquire_list(
        &self,
        _: DomId,
        owner: DomId,
        gfns: &[Gfn],
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        self.pages.acquire_list(owner, gfns, access, out)
    }

    #[inline]
    fn release(&self, _: DomId, run: &Run) {
        self.pages.release(run);
    }

    fn initial_map(&self, _: DomId, from: Bfn) -> Option<InitialRun> {
        let at = self.initial.partition_point(|run| run.bfns.last() < from);
        self.initial.get(at).copied()
    }
}

// SAFETY: those of the arena.
unsafe impl TableFrames for Cheap {
    fn alloc(&self, domain: DomId, pool: Pool) -> Option<Mfn> {
        self.arena.alloc(domain, pool)
    }

    fn alloc_some(&self, domain: DomId, frames: &mut [Mfn]) -> usize {
        self.arena.alloc_some(domain, frames)
    }

    fn free(&self, domain: DomId, frame: Mfn, pool: Pool) {
        TableFrames::free(self.arena, domain, frame, pool);
    }

    fn reserve(&self, domain: DomId, frames: u32) -> bool {
        self.arena.reserve(domain, frames)
    }

    fn unreserve(&self, domain: DomId, frames: u32) {
        self.arena.unreserve(domain, frames);
    }

    #[inline]
    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        self.arena.table(frame)
    }

    #[inline]
    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        self.arena.first_table(frames)
    }
}

// SAFETY: there are no units, so no device reaches anything.
unsafe impl IommuHw for Cheap {
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), AttachError> {
        black_box((unit, source, root, tag));
        Ok(())
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        black_box((unit, source));
        Ok(())
    }

    #[inline]
    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        black_box((unit, tag, what));
        Ok(())
    }

    #[inline]
    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        black_box((unit, tag, range));
        Ok(())
    }

    fn stop(&self, _: UnitId, _: SourceId) {}

    fn restart(&self, _: UnitId, _: SourceId) {}
}

impl Devices for Cheap {
    fn resolve(&self, _: DomId, name: PciDevice) -> Option<PciDevice> {
        Some(name)
    }
}

impl Domains for Cheap {
    fn with_domain(&self, _: DomId, _: &mut dyn FnMut(&DomainIommu<'_>)) -> bool {
        false
    }
}

impl Preempt for Cheap {}

impl AccessPolicy for Cheap {}
