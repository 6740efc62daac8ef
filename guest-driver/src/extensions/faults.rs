//! What devices were refused.

use pviommu_abi::{AccessFlags, ContextId, DomId, FaultRecord, ReadFaults, Subop};
use zerocopy::IntoBytes;

use super::{ForDomain, bad};
use crate::client::IommuClient;
use crate::error::Error;
use crate::hypercall::Hypercall;

/// Fault records that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults<'r> {
    /// The records; those of one device in the order of its faults.
    pub records: &'r [FaultRecord],
    /// How many were lost since the last call: there were too many, or nobody read them in time.
    pub lost: u64,
}

impl<H: Hypercall> ForDomain<'_, H> {
    /// Takes fault records of the domain's devices and writes them to the start of `room`: as many as the
    /// hypervisor has at hand, which may be fewer than there are. Repeat until there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EPERM` or `ESRCH` as for [`lookup`](Self::lookup);
    /// [`Error::NotAvailable`] without `CapabilityFlags::READ_FAULTS`; [`BadReply::Field`].
    ///
    /// [`BadReply::Field`]: crate::BadReply::Field
    pub fn read_faults<'r>(&self, room: &'r mut [FaultRecord]) -> Result<Faults<'r>, Error> {
        let mut arg = ReadFaults {
            domid: self.domain,
            nr_records: u32::try_from(room.len()).unwrap_or(u32::MAX),
            ..ReadFaults::default()
        };
        let size = usize::try_from(arg.nr_records).unwrap_or(room.len());
        let room = room.get_mut(..size).unwrap_or_default();
        self.client.call_with_buffer(&mut arg, room.as_mut_bytes())?;
        let records: &'r [FaultRecord] = room;
        let told = usize::try_from(arg.nr_records).ok().and_then(|told| records.get(..told));
        let wrong = bad(Subop::READ_FAULTS, "nr_records", arg.nr_records.into());
        let records = told.ok_or(wrong)?;
        records.iter().try_for_each(check)?;
        Ok(Faults { records, lost: arg.lost })
    }
}

impl<H: Hypercall> IommuClient<H> {
    /// [`ForDomain::read_faults`] of the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_faults<'r>(&self, room: &'r mut [FaultRecord]) -> Result<Faults<'r>, Error> {
        self.for_domain(DomId::SELF).read_faults(room)
    }
}

/// A reason that is not known is a newer one, and no lie.
fn check(record: &FaultRecord) -> Result<(), Error> {
    let wrong = |field, value| Err(bad(Subop::READ_FAULTS, field, value));
    if ContextId::try_from(record.ctx_id).is_err() {
        return wrong("ctx_id", record.ctx_id.into());
    }
    if AccessFlags::from_bits(record.access.bits()).is_none() {
        return wrong("access", record.access.bits().into());
    }
    if record.count == 0 {
        return wrong("count", 0);
    }
    if record.reserved != 0 {
        return wrong("reserved", record.reserved);
    }
    Ok(())
}
