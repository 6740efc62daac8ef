//! What the machine tells about itself.

use pviommu_abi::{
    Background, Bfn, Capabilities, ContextId, DeviceFlags, Errno, QueryDevice, QueryLimits,
    QueryReserved, QueryReservedFlags, ReservedKind, ReservedRange,
};
use zerocopy::IntoBytes;

use super::machine::Machine;

impl Machine {
    pub(super) fn tell_capabilities(&self, call: &mut Capabilities) {
        call.max_iova_addr = self.max_iova_addr;
        call.cap_flags = self.capabilities;
        call.pgsize_mask = 0x1000;
        call.max_ctx_no = if self.is_set_up { self.contexts_allowed } else { 0 };
    }

    pub(super) fn tell_limits(&self, call: &mut QueryLimits) -> Result<(), Errno> {
        self.contexts.get(&known(call.ctx_id)).ok_or(Errno::ENOENT)?;
        (call.aperture_first, call.aperture_last) = self.aperture;
        (call.page_sizes, call.background) = (0x1000, Background::FAULT);
        (call.max_batch_ops, call.max_element_pages) = (self.most_elements, self.most_pages);
        Ok(())
    }

    pub(super) fn tell_reserved(
        &self,
        call: &mut QueryReserved,
        buffer: &mut [u8],
    ) -> Result<(), Errno> {
        let mut ranges = self.reserved.clone();
        if call.flags.contains(QueryReservedFlags::DEVICE) {
            let device = call.device.as_pci().ok_or(Errno::ENODEV)?;
            ranges.extend(&self.device(device)?.reserved);
        } else {
            let context = known(call.ctx_id);
            self.contexts.get(&context).ok_or(Errno::ENOENT)?;
            let devices = self.devices.iter().filter(|device| device.context == context);
            ranges.extend(devices.flat_map(|device| &device.reserved));
        }
        ranges.sort_by_key(|range| (range.first, range.last));
        let room = usize::try_from(call.nr_entries).unwrap();
        call.nr_entries = u32::try_from(ranges.len()).unwrap();
        if ranges.len() > room {
            return Err(Errno::ENOBUFS);
        }
        for (place, range) in buffer.chunks_exact_mut(size_of::<ReservedRange>()).zip(&ranges) {
            place.copy_from_slice(range.as_bytes());
        }
        Ok(())
    }

    pub(super) fn tell_device(&self, call: &mut QueryDevice) -> Result<(), Errno> {
        let device = self.device(call.device.as_pci().ok_or(Errno::ENODEV)?)?;
        call.state = device.state;
        if device.state.contains(DeviceFlags::BEHIND_IOMMU) {
            (call.group, call.moves_with) = (device.group, device.group);
            call.ctx_id = device.context.into();
        }
        Ok(())
    }

    /// Reserves `first..=last` in every context.
    pub(crate) fn reserve(&mut self, first: Bfn, last: Bfn) {
        self.reserved.push(reserved(first, last));
    }
}

/// A range that may not be used.
pub(crate) fn reserved(first: Bfn, last: Bfn) -> ReservedRange {
    ReservedRange { first, last, kind: ReservedKind::RESERVED, ..ReservedRange::default() }
}

fn known(id: u32) -> ContextId {
    ContextId::try_from(id).unwrap()
}
