//! An embedder that answers anything.
#![expect(unsafe_code, reason = "three of the traits are unsafe to implement")]

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    DomainIommu,
    abi::{Bfn, DomId, Gfn, GuestPtr, PciDevice},
    addr::{BfnRange, Mfn, MfnRange},
    platform::{
        Access, AccessPolicy, AcquireError, AttachError, CopyFault, Devices, Domains,
        ForeignHandle, GuestMemory, InitialRun, Invalidation, IommuHw, Operation, PageKind,
        PageOwnership, PolicyDenied, Pool, Preempt, Run, Runs, SourceId, TableFrames, TableRoot,
        Tag, UnitError, UnitId, Wanted,
    },
    unit::{Command, queue::Registers},
};

use crate::{
    entries::device,
    opaque::{fill, maybe, number, show, yes},
};

/// The platform. What it lends comes from outside, too.
pub(crate) struct Opaque<'o> {
    pub(crate) tables: &'o [AtomicU64],
    pub(crate) domains: &'o [DomainIommu<'o>],
}

fn done(is: bool) -> Result<(), UnitError> {
    if is { Ok(()) } else { Err(UnitError) }
}

impl GuestMemory for Opaque<'_> {
    fn copy_in(&self, domain: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        if fill(u64::from(domain.0), from.0, to) { Ok(()) } else { Err(CopyFault) }
    }

    fn copy_out(&self, domain: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        if show(from) && yes(u64::from(domain.0), to.0) { Ok(()) } else { Err(CopyFault) }
    }
}

// SAFETY: the program is never run, so no device reaches anything.
unsafe impl PageOwnership for Opaque<'_> {
    fn acquire(
        &self,
        domain: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let any = || number(u64::from(domain.0), u64::from(show(&wanted)));
        while !out.is_full() && yes(0, any()) {
            let Some(frames) = MfnRange::of_pages(Mfn(any()), any()) else { break };
            let kind = match any() {
                0 => PageKind::Ram,
                1 => PageKind::Mmio,
                _ => PageKind::Foreign(ForeignHandle(any())),
            };
            let access = if yes(2, 0) { access } else { Access::from_bits_truncate(any() as u8) };
            if out.push(Run { frames, kind, access }).is_err() {
                break;
            }
        }
        match any() {
            0 => Err(AcquireError::NotBacked),
            1 => Err(AcquireError::NotPermitted),
            2 => Err(AcquireError::Retry),
            3 => Err(AcquireError::Saturated),
            _ => Ok(()),
        }
    }

    fn release(&self, domain: DomId, run: &Run) {
        // Reached only by way of a map, an unmap and a flush.
        #[cfg(feature = "seeded-panic")]
        assert!(yes(u64::from(domain.0), run.frames.pages()), "seeded");
        number(u64::from(domain.0), run.frames.first().0);
        show(&run.kind);
    }

    fn gfn_of(&self, domain: DomId, frame: Mfn) -> Option<Gfn> {
        maybe(u64::from(domain.0), frame.0).map(Gfn)
    }

    fn initial_map(&self, domain: DomId, from: Bfn) -> Option<InitialRun> {
        let any = || number(u64::from(domain.0), from.0);
        let bfns = BfnRange::of_pages(Bfn(any()), any())?;
        Some(InitialRun { bfns, access: Access::from_bits_truncate(any() as u8) })
    }

    fn may_be_direct(&self, frames: MfnRange) -> bool {
        yes(frames.first().0, frames.pages())
    }
}

// SAFETY: as above: no unit walks these tables.
unsafe impl TableFrames for Opaque<'_> {
    fn alloc(&self, domain: DomId, pool: Pool) -> Option<Mfn> {
        maybe(u64::from(domain.0), pool as u64).map(Mfn)
    }

    fn free(&self, domain: DomId, frame: Mfn, pool: Pool) {
        number(u64::from(domain.0) ^ pool as u64, frame.0);
    }

    fn reserve(&self, domain: DomId, frames: u32) -> bool {
        yes(u64::from(domain.0), u64::from(frames))
    }

    fn unreserve(&self, domain: DomId, frames: u32) {
        number(u64::from(domain.0), u64::from(frames));
    }

    /// Any length, so that the service cannot owe its safety to that of a real table.
    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        let (from, to) = (number(0, frame.0) as usize, number(1, frame.0) as usize);
        self.tables.get(from..to).unwrap_or_default()
    }

    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        maybe(frames.first().0, frames.pages()).map(Mfn)
    }

    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        number(frame.0, (first ^ last) as u64);
    }
}

// SAFETY: as above: there are no units.
unsafe impl IommuHw for Opaque<'_> {
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), AttachError> {
        if show(&root) && show(&source) && yes(u64::from(unit.0), u64::from(tag.0)) {
            return Ok(());
        }
        Err(if yes(3, 0) { AttachError::Refused } else { AttachError::Failed })
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        done(show(&source) && yes(u64::from(unit.0), 0))
    }

    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        done(show(&what) && yes(u64::from(unit.0), u64::from(tag.0)))
    }

    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        done(show(&range) && yes(u64::from(unit.0), u64::from(tag.0)))
    }

    fn stop(&self, unit: UnitId, source: SourceId) {
        number(u64::from(unit.0), u64::from(source.0.sbdf()));
    }

    fn restart(&self, unit: UnitId, source: SourceId) {
        number(u64::from(unit.0), u64::from(source.0.sbdf()));
    }

    fn unit_failed(&self, unit: UnitId) {
        number(u64::from(unit.0), 0);
    }
}

impl Registers for Opaque<'_> {
    fn head(&self) -> Result<usize, UnitError> {
        done(yes(4, 0)).map(|()| number(4, 0) as usize)
    }

    fn set_tail(&self, entry: usize) {
        show(&entry);
    }

    fn wait_command(&self, status: usize, cookie: u32) -> Command {
        [number(status as u64, 0), number(u64::from(cookie), 0)]
    }
}

impl Devices for Opaque<'_> {
    fn resolve(&self, domain: DomId, name: PciDevice) -> Option<PciDevice> {
        let found = show(&name) && yes(u64::from(domain.0), 0);
        found.then(device)
    }
}

impl Domains for Opaque<'_> {
    fn with_domain(&self, domain: DomId, act: &mut dyn FnMut(&DomainIommu<'_>)) -> bool {
        let found = self.domains.get(number(u64::from(domain.0), 0) as usize);
        found.map(act).is_some()
    }
}

impl Preempt for Opaque<'_> {
    fn should_yield(&self) -> bool {
        yes(0, 0)
    }
}

impl AccessPolicy for Opaque<'_> {
    fn allow(&self, operation: &Operation) -> Result<(), PolicyDenied> {
        if show(operation) { Ok(()) } else { Err(PolicyDenied) }
    }
}
