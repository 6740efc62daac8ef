//! The platform traits, for a hypervisor whose memory and units are a [`Board`]. A real one takes the lock of a
//! P2M where it says so.
#![expect(unsafe_code, reason = "three of the traits promise what the compiler cannot check")]

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    DomainIommu,
    abi::{DomId, GuestPtr, PciDevice},
    addr::{BfnRange, Mfn, MfnRange},
    platform::{
        Access, AccessPolicy, AcquireError, AttachError, CopyFault, Devices, Domains, GuestMemory,
        Invalidation, IommuHw, PageKind, PageOwnership, Pool, Preempt, Run, Runs, SourceId,
        TableFrames, TableRoot, Tag, UnitError, UnitId, Wanted,
    },
};

use crate::{machine::Board, machines_function};

/// What the service runs on.
#[derive(Debug)]
pub(crate) struct Hypervisor<'b> {
    pub(crate) board: &'b Board,
}

impl GuestMemory for Hypervisor<'_> {
    fn copy_in(&self, _: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        self.board.guest_read(from.0, to).ok_or(CopyFault)
    }

    fn copy_out(&self, _: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        self.board.guest_write(to.0, from).ok_or(CopyFault)
    }
}

// SAFETY: the guest's frames are its own for as long as the machine is there, and no table is among them.
unsafe impl PageOwnership for Hypervisor<'_> {
    fn acquire(
        &self,
        domain: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let Wanted::Guest { owner, gfns } = wanted else { return Err(AcquireError::NotPermitted) };
        if owner != domain {
            return Err(AcquireError::NotPermitted);
        }
        // Here: the lock of the P2M.
        for gfn in gfns.first().0..=gfns.last().0 {
            let frame = self.board.behind(gfn).ok_or(AcquireError::NotBacked)?;
            let run = Run { frames: MfnRange::single(frame), kind: PageKind::Ram, access };
            if out.push(run).is_err() {
                break; // The service comes again.
            }
            self.board.count_reference(frame, 1);
        }
        Ok(())
    }

    fn release(&self, _: DomId, run: &Run) {
        for frame in run.frames.first().0..=run.frames.last().0 {
            self.board.count_reference(Mfn(frame), -1);
        }
    }
}

// SAFETY: a table is handed out once until it is freed, and only the service writes it.
unsafe impl TableFrames for Hypervisor<'_> {
    fn alloc(&self, _: DomId, _: Pool) -> Option<Mfn> {
        self.board.take_table()
    }

    fn free(&self, _: DomId, frame: Mfn, _: Pool) {
        self.board.give_table(frame);
    }

    fn reserve(&self, _: DomId, _: u32) -> bool {
        false // So: leaves of 4 KiB only.
    }

    fn unreserve(&self, _: DomId, _: u32) {}

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        self.board.table(frame)
    }

    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        self.board.table_frames().intersection(frames).map(MfnRange::first)
    }
}

// SAFETY: the unit forgets before a method returns, and lets nothing through without an entry.
unsafe impl IommuHw for Hypervisor<'_> {
    fn attach(&self, _: UnitId, _: SourceId, root: TableRoot, tag: Tag) -> Result<(), AttachError> {
        self.board.set_entry(Some((root, tag)));
        Ok(())
    }

    fn block(&self, _: UnitId, _: SourceId) -> Result<(), UnitError> {
        self.board.set_entry(None);
        Ok(())
    }

    fn invalidate(&self, _: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        self.board.forget(tag, what);
        Ok(())
    }

    fn sync_map(&self, _: UnitId, _: Tag, _: BfnRange) -> Result<(), UnitError> {
        Ok(()) // The unit caches nothing that is not present, and has no write buffer.
    }

    fn stop(&self, _: UnitId, _: SourceId) {
        self.board.set_entry(None);
    }

    fn restart(&self, _: UnitId, _: SourceId) {}
}

impl Devices for Hypervisor<'_> {
    fn resolve(&self, domain: DomId, name: PciDevice) -> Option<PciDevice> {
        machines_function(domain, name)
    }
}

impl Domains for Hypervisor<'_> {
    fn with_domain(&self, _: DomId, _: &mut dyn FnMut(&DomainIommu<'_>)) -> bool {
        false // Nobody acts for another one here.
    }
}

impl Preempt for Hypervisor<'_> {}
impl AccessPolicy for Hypervisor<'_> {}
