//! Telling a guest what its devices were refused.

use pviommu_abi::{AccessFlags, ContextId, DeviceHandle, DomId, Errno, FaultRecord, GuestPtr};
use zerocopy::IntoBytes;

use super::{
    command::{Effect, FaultsRequest},
    extensible::offset,
};
use crate::{
    context::{End, Session, Told},
    domain::Slot,
    format::with_format,
    machine::{FaultRoom, Record},
    platform::{Access, Platform},
};

impl<P: Platform> Session<'_, P> {
    /// Takes the records of the domain's devices, as many as there is room for here and in the caller's
    /// memory, and writes them there. What cannot be written is lost.
    #[inline(never)]
    pub(super) fn read_faults(
        &self,
        request: &FaultsRequest,
        caller: DomId,
        room: &mut FaultRoom,
    ) -> Effect {
        room.clear();
        let most = usize::try_from(request.room).unwrap_or(usize::MAX).min(room.capacity());
        self.take_records(most, room);
        self.take_scratch_records(most, room);
        let lost = self.domain.tell_lost_faults();
        let count = u32::try_from(room.len()).unwrap_or(u32::MAX);
        // What was lost has had numbers, too: the gap shows.
        let first = self.domain.number_faults(lost.saturating_add(u64::from(count)));
        let first = first.saturating_add(lost);
        for (number, (device, record)) in (0u64..).zip(room.iter()) {
            let name = device.and_then(|it| self.platform().name_of(self.domain.id(), it));
            let device = name.map_or_else(DeviceHandle::default, DeviceHandle::pci);
            let sequence = first.saturating_add(number);
            let record = self.wire_record(device, record, sequence);
            if let Err(errno) = self.tell_fault(request.records, number, &record, caller) {
                self.untell_faults(count, lost);
                return Effect::Ended(End::Failed(errno));
            }
        }
        Effect::Faults { told: count, lost }
    }

    /// The guest does not get to know of `told` records, and of `lost` that were lost before.
    pub(super) fn untell_faults(&self, told: u32, lost: u64) {
        self.domain.lose_faults(u64::from(told));
        self.domain.keep_untold(lost);
    }

    fn take_records(&self, most: usize, room: &mut FaultRoom) {
        for device in self.iommu.devices().iter().filter(|device| device.faults.has_news()) {
            let state = device.state.lock();
            if state.owner != Some(self.domain.id()) {
                continue;
            }
            let lost = device.faults.read(state.tenure, |record| {
                room.len() < most && room.push((Some(device.function()), record)).is_ok()
            });
            self.domain.lose_faults(lost);
        }
    }

    /// A context whose scratch page was written is told once, if there is room left.
    fn take_scratch_records(&self, most: usize, room: &mut FaultRoom) {
        for (slot, context) in self.domain.slots() {
            let full = room.len() >= most;
            if full
                || !with_format!(self.iommu.format(), F => {
                    self.scratch_written::<F>(context, Told::Guest)
                })
            {
                continue;
            }
            let _ = room.push((None, Record::of_scratch(slot)));
        }
    }

    fn wire_record(&self, device: DeviceHandle, record: &Record, sequence: u64) -> FaultRecord {
        let context = |slot: Slot| self.domain.id_of(slot);
        let mut access = AccessFlags::empty();
        access.set(AccessFlags::READ, record.access.contains(Access::READ));
        access.set(AccessFlags::WRITE, record.access.contains(Access::WRITE));
        FaultRecord {
            device,
            address: record.address,
            sequence,
            ctx_id: u32::from(record.context.map_or(ContextId::DEFAULT, context).0),
            reason: record.reason,
            access,
            count: record.count,
            reserved: 0,
        }
    }

    fn tell_fault(
        &self,
        to: GuestPtr,
        number: u64,
        record: &FaultRecord,
        caller: DomId,
    ) -> Result<(), Errno> {
        let number = usize::try_from(number).map_err(|_| Errno::EFAULT)?;
        let skipped = number.checked_mul(size_of::<FaultRecord>()).ok_or(Errno::EFAULT)?;
        let to = offset(to, skipped)?;
        self.platform().copy_out(caller, to, record.as_bytes()).map_err(|_| Errno::EFAULT)
    }
}
