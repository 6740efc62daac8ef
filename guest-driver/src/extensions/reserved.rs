//! Which bus frames may not be mapped, and why.

use core::fmt;

use pviommu_abi::{
    AccessFlags, Bfn, ContextId, DeviceHandle, DomId, Errno, QueryReserved, QueryReservedFlags,
    ReservedRange, Subop,
};
use zerocopy::IntoBytes;

use super::{ForDomain, bad};
use crate::client::IommuClient;
use crate::error::Error;
use crate::hypercall::Hypercall;

/// Most reserved ranges that a hypervisor is believed to have: far more than machines have, and few
/// enough to make room for.
pub const MAX_RESERVED_RANGES: usize = 1 << 16;

/// Whose reserved ranges are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedOf {
    /// Those of a context: of the machine, and of each device attached to it.
    Context(ContextId),
    /// Those of a context that only this device is attached to.
    Device(DeviceHandle),
}

/// Why reserved ranges were not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedError {
    /// How many there are, if they did not fit the slice: ask again with one that is as long. 0
    /// after any other error.
    pub needed: usize,
    /// What went wrong.
    pub cause: Error,
}

impl fmt::Display for ReservedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.needed {
            0 => self.cause.fmt(f),
            needed => write!(f, "{} ({needed} ranges)", self.cause),
        }
    }
}

impl core::error::Error for ReservedError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<Error> for ReservedError {
    fn from(cause: Error) -> Self {
        Self { needed: 0, cause }
    }
}

impl<H: Hypercall> ForDomain<'_, H> {
    /// How many reserved ranges there are, at most [`MAX_RESERVED_RANGES`]. There can be more by
    /// the time they are asked for, if a device is attached in between.
    ///
    /// # Errors
    ///
    /// As for [`query_reserved`](Self::query_reserved), but that the slice is too short.
    pub fn count_reserved(&self, of: ReservedOf) -> Result<usize, Error> {
        match self.query_reserved(of, &mut []) {
            Ok(_) => Ok(0),
            Err(ReservedError { needed: 0, cause }) => Err(cause),
            Err(ReservedError { needed, .. }) => Ok(needed),
        }
    }

    /// The reserved ranges, written to the start of `room`, in ascending order of their first bus
    /// frame; they may overlap. All of them or none: without one of them a driver would use what it
    /// must not.
    ///
    /// # Errors
    ///
    /// [`ReservedError`], and nothing in `room` is to be believed. The cause is
    /// [`Error::Exhausted`] with `ENOBUFS` if they do not fit `room`; [`Error::Refused`] with
    /// `ENOENT` if there is no such context, and with `EPERM` or `ESRCH` as for
    /// [`lookup`](Self::lookup); [`Error::NotAvailable`] with `ENODEV` if there is no such device,
    /// and without `CapabilityFlags::QUERY_RESERVED`; [`BadReply::Field`].
    ///
    /// [`BadReply::Field`]: crate::BadReply::Field
    pub fn query_reserved<'r>(
        &self,
        of: ReservedOf,
        room: &'r mut [ReservedRange],
    ) -> Result<&'r [ReservedRange], ReservedError> {
        let size = room.len().min(MAX_RESERVED_RANGES);
        let room = room.get_mut(..size).unwrap_or_default();
        // What the hypervisor does not write is no range then.
        room.fill(ReservedRange::default());
        let mut arg = QueryReserved {
            domid: self.domain,
            // At most 65536, so the fallback is never taken.
            nr_entries: u32::try_from(size).unwrap_or(0),
            ..QueryReserved::default()
        };
        match of {
            ReservedOf::Context(context) => arg.ctx_id = context.into(),
            ReservedOf::Device(device) => {
                (arg.flags, arg.device) = (QueryReservedFlags::DEVICE, device);
            }
        }
        let outcome = self.client.call_with_buffer(&mut arg, room.as_mut_bytes());
        let told = usize::try_from(arg.nr_entries).unwrap_or(usize::MAX);
        let wrong = bad(Subop::QUERY_RESERVED, "nr_entries", arg.nr_entries.into());
        match outcome {
            Ok(()) => {}
            Err(cause @ Error::Exhausted(Errno::ENOBUFS)) => {
                let plausible = told > size && told <= MAX_RESERVED_RANGES;
                let error = ReservedError { needed: told, cause };
                return Err(if plausible { error } else { wrong.into() });
            }
            Err(cause) => return Err(cause.into()),
        }
        let ranges: &'r [ReservedRange] = room;
        let ranges = ranges.get(..told).ok_or(wrong)?;
        check_ranges(ranges)?;
        Ok(ranges)
    }
}

impl<H: Hypercall> IommuClient<H> {
    /// [`ForDomain::count_reserved`] of the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn count_reserved(&self, of: ReservedOf) -> Result<usize, Error> {
        self.for_domain(DomId::SELF).count_reserved(of)
    }

    /// [`ForDomain::query_reserved`] of the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn query_reserved<'r>(
        &self,
        of: ReservedOf,
        room: &'r mut [ReservedRange],
    ) -> Result<&'r [ReservedRange], ReservedError> {
        self.for_domain(DomId::SELF).query_reserved(of, room)
    }
}

fn check_ranges(ranges: &[ReservedRange]) -> Result<(), Error> {
    let wrong = |field, value| Err(bad(Subop::QUERY_RESERVED, field, value));
    let mut before = (Bfn(0), Bfn(0));
    for range in ranges {
        let ReservedRange { first, last, kind, access, reserved } = *range;
        if last < first || last.address().is_none() {
            return wrong("last", last.0);
        }
        if (first, last) < before {
            return wrong("first", first.0);
        }
        if kind.name().is_none() {
            return wrong("kind", kind.0.into());
        }
        if AccessFlags::from_bits(access.bits()).is_none() {
            return wrong("access", access.bits().into());
        }
        if reserved != 0 {
            return wrong("reserved", reserved);
        }
        before = (first, last);
    }
    Ok(())
}
