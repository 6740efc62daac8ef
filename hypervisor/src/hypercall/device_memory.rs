//! Reserved ranges for a driver that knows v7 only: the memory operation that it asks (Xen
//! `public/memory.h`, `XENMEM_reserved_device_memory_map`).
//!
//! ```text
//!  memory_op ─► reserved_device_memory_map ─► the device's ranges, then the machine's ─► the caller's buffer
//! ```
//!
//! It is told what [`QUERY_RESERVED`](pviommu_abi::Subop::QUERY_RESERVED) tells of a device, without the kinds:
//! a number of frames from the first on. The interrupt window is left out, because such a driver reserves that
//! of its own accord.

use pviommu_abi::{
    DomId, Errno, GuestPtr, PciDevice, Subop,
    companion::{XENMEM_RDM_ALL, XenReservedDeviceMemory, XenReservedDeviceMemoryMap},
};
use zerocopy::{FromZeros, IntoBytes};

use super::{Caller, Width, extensible::offset, has_service};
use crate::{
    context::Session,
    domain::DomainIommu,
    machine::{Device, Iommu, Outcome},
    platform::{Operation, Platform},
    reserved::{Reserved, ReservedKind},
};

impl<P: Platform> Iommu<'_, P> {
    /// Serves `memory_op` (hypercall 12) of `domain` with the command `XENMEM_reserved_device_memory_map`
    /// (27): `arg` points to a structure [`XenReservedDeviceMemoryMap`]. Every other command is the
    /// embedder's own.
    ///
    /// A device that is not the caller's has no ranges. Ranges of several devices, or of one and the machine,
    /// may overlap. Errors: `-ENOBUFS`: `nr_entries` holds the number needed, and the buffer as many as fit.
    /// `-EINVAL`: unknown flags, or no such CPU. `-EFAULT`: a bad pointer. `-ENODEV`: the domain has no
    /// service. `-EPERM`: the policy forbids it, asked as for `QUERY_RESERVED`. `-EOPNOTSUPP`: a caller of 32
    /// bits.
    pub fn reserved_device_memory_map(
        &self,
        domain: &DomainIommu<'_>,
        caller: Caller,
        arg: u64,
    ) -> Outcome {
        let Some(cpu) = self.cpu(caller.cpu) else { return Outcome::failed(Errno::EINVAL) };
        if caller.width == Width::Bits32 {
            return Outcome::failed(Errno::EOPNOTSUPP);
        }
        let _claimed = cpu.claim();
        match self.session(domain, cpu).device_memory(GuestPtr(arg)) {
            Ok(()) => Outcome::Done(0),
            Err(errno) => Outcome::failed(errno),
        }
    }
}

/// Ranges on their way into the buffer of the caller.
struct Listing {
    buffer: GuestPtr,
    room: u32,
    count: u32,
}

impl<P: Platform> Session<'_, P> {
    fn device_memory(&self, arg: GuestPtr) -> Result<(), Errno> {
        has_service(self.domain)?;
        let caller = self.domain.id();
        let mut map = XenReservedDeviceMemoryMap::new_zeroed();
        self.platform().copy_in(caller, arg, map.as_mut_bytes()).map_err(|_| Errno::EFAULT)?;
        if map.flags & !XENMEM_RDM_ALL != 0 {
            return Err(Errno::EINVAL);
        }
        let named = (map.flags & XENMEM_RDM_ALL == 0).then_some(map.dev);
        self.may_ask(named)?;
        let mut listing = Listing { buffer: map.buffer, room: map.nr_entries, count: 0 };
        match named {
            Some(name) => {
                if let Ok(device) = self.own_device(name) {
                    self.list_device(device, &mut listing)?;
                    self.list_machine(&mut listing)?;
                }
            }
            None => {
                for device in self.iommu.devices().iter().filter(|device| self.owns(device)) {
                    self.list_device(device, &mut listing)?;
                }
                self.list_machine(&mut listing)?;
            }
        }
        let at = offset(arg, core::mem::offset_of!(XenReservedDeviceMemoryMap, nr_entries))?;
        let count = listing.count.as_bytes();
        self.platform().copy_out(caller, at, count).map_err(|_| Errno::EFAULT)?;
        if listing.count > listing.room { Err(Errno::ENOBUFS) } else { Ok(()) }
    }

    /// Asks the embedder's policy, before anything has happened (INV-58).
    fn may_ask(&self, named: Option<PciDevice>) -> Result<(), Errno> {
        let target: DomId = self.domain.id();
        let device = named.and_then(|name| self.platform().resolve(target, name));
        let subop = Subop::QUERY_RESERVED;
        let operation = Operation { caller: target, target, owner: None, subop, device };
        self.platform().allow(&operation).map_err(|_| Errno::EPERM)
    }

    fn owns(&self, device: &Device<'_>) -> bool {
        device.state.lock().owner == Some(self.domain.id())
    }

    fn list_device(&self, device: &Device<'_>, listing: &mut Listing) -> Result<(), Errno> {
        device.reserved().iter().try_for_each(|reserved| self.list(reserved, listing))
    }

    fn list_machine(&self, listing: &mut Listing) -> Result<(), Errno> {
        let mut all = self.iommu.reserved().into_iter().flatten();
        all.try_for_each(|reserved| self.list(reserved, listing))
    }

    fn list(&self, reserved: &Reserved, listing: &mut Listing) -> Result<(), Errno> {
        if reserved.kind == ReservedKind::Msi {
            return Ok(());
        }
        if listing.count < listing.room {
            let range = reserved.range;
            let entry =
                XenReservedDeviceMemory { start_pfn: range.first().0, nr_pages: range.pages() };
            let before = usize::try_from(listing.count).map_err(|_| Errno::EFAULT)?;
            let before = before.checked_mul(size_of_val(&entry)).ok_or(Errno::EFAULT)?;
            let to = offset(listing.buffer, before)?;
            let copied = self.platform().copy_out(self.domain.id(), to, entry.as_bytes());
            copied.map_err(|_| Errno::EFAULT)?;
        }
        listing.count = listing.count.saturating_add(1);
        Ok(())
    }
}
