//! What happens while the hypervisor runs, and what the service is told of it.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::{
    Backing, Caller, DefaultMap, Outcome, P2mChange, Role, Sweep, Width,
    abi::{DomId, Errno, Gfn, HYPERCALL_IOMMU_OP, PciDevice},
    addr::{GfnRange, Mfn, MfnRange},
    platform::{Access, UnitId},
    unit::driver::Event,
};

use super::Hypervisor;
use crate::{
    domains::{Backed, Domain, DomainConfig},
    machine::{clock, frames::FREE, pci},
};

/// What a guest left in its registers for a hypercall.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// RAX: which hypercall.
    pub number: u64,
    /// RDI and RSI: its arguments.
    pub arguments: [u64; 2],
}

/// Calls a part of the service again until it is done: for those that are no guest's, and wait for nobody.
fn finish(mut act: impl FnMut() -> Outcome) -> Result<(), Errno> {
    loop {
        match act() {
            Outcome::Continue => core::hint::spin_loop(),
            Outcome::Done(0) => return Ok(()),
            Outcome::Done(status) => return Err(Errno::from_ret(status).unwrap_or(Errno::EIO)),
        }
    }
}

impl Hypervisor {
    /// The hypercall handler: what goes into RAX, or that the guest is to execute the same instruction again,
    /// once what is due has been done (another vCPU, an interrupt, its end).
    pub fn hypercall(&self, domain: &Domain, cpu: usize, registers: Registers) -> Outcome {
        if registers.number != u64::from(HYPERCALL_IOMMU_OP) {
            return Outcome::Done(Errno::ENOSYS.to_ret());
        }
        let [subop, argument] = registers.arguments;
        let caller = Caller { cpu, width: Width::Bits64 };
        self.iommu.iommu_op(&domain.iommu, caller, subop, argument)
    }

    /// Makes a domain.
    ///
    /// # Errors
    /// `-ENOSPC`: there are too many. `-ENOMEM`: there is too little memory. Others: its default map.
    pub fn create(&self, config: &DomainConfig) -> Result<&Domain, Errno> {
        let platform = self.iommu.platform();
        // 0 is the hardware domain's.
        let first = if config.role == Role::Hardware { 0 } else { 1 };
        let mut places = platform.domains.iter().enumerate().skip(first);
        let (index, place) = places.find(|(_, it)| it.get().is_none()).ok_or(Errno::ENOSPC)?;
        let id = DomId(index as u16);
        let first = FREE.alloc(config.pages, config.block as usize).ok_or(Errno::ENOMEM)?;
        for frame in first.0..first.0 + config.pages as u64 {
            platform.frames.give(Mfn(frame), id).map_err(|_| Errno::EBUSY)?;
        }
        let domain = place.call_once(|| Domain::new(id, config, first));
        if config.default_map != DefaultMap::Blocked {
            finish(|| self.iommu.set_default(&domain.iommu, 0, config.default_map))?;
        }
        // A map that is maintained is told of memory as that comes; others ask for it themselves.
        let _held = domain.p2m.lock.lock();
        let mut gfn = Gfn(0);
        while let Some(Backed { frame, pages, .. }) = domain.p2m.lookup(gfn, domain.p2m.pages()) {
            let gfns = GfnRange::of_pages(gfn, pages).ok_or(Errno::EINVAL)?;
            self.tell_p2m(domain, gfns, None, frame)?;
            gfn.0 += pages;
        }
        Ok(domain)
    }

    /// Tells the service that guest frames are backed by memory from `new` on, and no longer by `old`. Under the
    /// P2M's lock, so that changes keep their order.
    fn tell_p2m(
        &self,
        domain: &Domain,
        gfns: GfnRange,
        old: Option<Mfn>,
        new: Mfn,
    ) -> Result<(), Errno> {
        let backing = Backing { first: new, access: Access::all(), mmio: false };
        let mut change = P2mChange::new(gfns, old, Some(backing));
        finish(|| self.iommu.p2m_changed(&domain.iommu, 0, &mut change))
    }

    /// Gives a device to a domain, with all of its group. Before, each is to be reset, so that nothing of its last
    /// owner is in it: by function level reset (PCIe 6.0, section 6.6.2). The emulated ones have none.
    ///
    /// # Errors
    /// As [`Iommu::assign`](pviommu_hypervisor::Iommu::assign).
    pub fn give(&self, domain: &Domain, function: PciDevice) -> Result<(), Errno> {
        // What was refused before is not the new owner's.
        self.tell_faults();
        self.iommu.assign(&domain.iommu, 0, function)?;
        for function in self.together(function) {
            domain.note(function, true);
            pci::command(function, pci::BUS_MASTER, true);
        }
        Ok(())
    }

    /// Takes a device away, with all that were given with it.
    ///
    /// # Errors
    /// As [`Iommu::unassign`](pviommu_hypervisor::Iommu::unassign).
    pub fn take(&self, domain: &Domain, function: PciDevice) -> Result<(), Errno> {
        // No new request from here on. What it has under way is drained by the service.
        self.together(function).for_each(|it| pci::command(it, pci::BUS_MASTER, false));
        self.tell_faults();
        self.iommu.unassign(&domain.iommu, 0, function)?;
        self.together(function).for_each(|it| domain.note(it, false));
        Ok(())
    }

    /// The functions of all devices of a group.
    fn together(&self, function: PciDevice) -> impl Iterator<Item = PciDevice> {
        let group = self.topology.group_of(function);
        let members = group.into_iter().flat_map(|group| group.members());
        members.filter(|it| it.buses.is_none() && it.unit.is_some()).map(|it| it.address)
    }

    /// Ends a domain: whatever it did, nothing of it is left.
    ///
    /// # Errors
    /// A unit has failed: what it may reach is never used again.
    pub fn destroy(&self, domain: &Domain) -> Result<(), Errno> {
        for function in domain.functions() {
            pci::command(function, pci::BUS_MASTER, false);
            domain.note(function, false);
        }
        self.tell_faults();
        finish(|| self.iommu.teardown(&domain.iommu, 0))?;
        domain.dying.store(true, Ordering::Release);
        let _held = domain.p2m.lock.lock();
        for frame in domain.gfns().filter_map(|gfn| domain.p2m.set(gfn, None)) {
            // One that something still holds is never used again.
            if self.iommu.platform().frames.take(frame).is_ok() {
                FREE.free(frame, 1);
            }
        }
        Ok(())
    }

    /// Backs a guest frame by another frame, as when memory is moved: who has it mapped for a device maps it
    /// again.
    ///
    /// # Errors
    /// `-ENOENT`: it is no memory. `-ENOMEM`. `-EIO`: a unit has failed, and the old frame is never used again.
    pub fn replace(&self, domain: &Domain, gfn: Gfn) -> Result<(), Errno> {
        let frames = &self.iommu.platform().frames;
        let new = FREE.alloc(1, 1).ok_or(Errno::ENOMEM)?;
        frames.give(new, domain.id).map_err(|_| Errno::EBUSY)?;
        // 1. From here on nobody acquires the old frame.
        let held = domain.p2m.lock.lock();
        let old = domain.p2m.set(gfn, Some(new)).ok_or(Errno::ENOENT)?;
        // 2. Out of a map that the hypervisor maintains.
        self.tell_p2m(domain, GfnRange::single(gfn), Some(old), new)?;
        drop(held);
        // 3. Out of what the guest itself mapped.
        let mut sweep = Sweep::default();
        let range = [MfnRange::single(old)];
        finish(|| self.iommu.retarget(&domain.iommu, 0, &range, &mut sweep))?;
        // 4. No device reaches it and nothing holds it: it can be used again.
        frames.take(old).map_err(|_| Errno::EBUSY)?;
        FREE.free(old, 1);
        Ok(())
    }

    /// Tells the service what the units have recorded: in the handler of their interrupt, or, as here, now and
    /// then. How many faults that were.
    pub fn tell_faults(&self) -> usize {
        let _one_at_a_time = self.telling.lock();
        let mut faults = 0;
        for (index, driver) in self.iommu.platform().drivers.0.iter().enumerate() {
            let unit = UnitId(index as u16);
            while let Some(event) = driver.next_event() {
                match event {
                    Event::Fault(fault) => {
                        let became = self.iommu.report_fault(unit, &fault, clock::now_us() / 1000);
                        log::info!("unit {index}: {fault:x?}: {became:?}");
                        faults += 1;
                    }
                    other => log::warn!("unit {index}: {other:?}"),
                }
            }
        }
        faults
    }
}
