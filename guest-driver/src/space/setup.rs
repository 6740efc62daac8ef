//! Which bus frames a device may be given at all.

use pviommu_abi::{Bfn, ContextId, ReservedRange};

use super::{DeviceSpace, SpaceError, last_whole_frame};
use crate::bfn::{BfnAllocator, BfnError};
use crate::client::IommuClient;
use crate::error::Error;
use crate::extensions::ReservedOf;
use crate::hypercall::Hypercall;

/// How many reserved ranges can be told at once. Machines have fewer than ten.
const RESERVED_ROOM: usize = 64;

/// Where writes are interrupts on x86, whatever a table maps there: 0xfee0_0000 to 0xfeef_ffff.
const INTERRUPT_WINDOW: (Bfn, Bfn) = (Bfn(0xfee00), Bfn(0xfeeff));

impl<H: Hypercall, const N: usize> DeviceSpace<H, N> {
    /// Room in `context` for devices that can put byte addresses up to `reach` on the bus, such as
    /// 0xffff_ffff with 32 address bits. Make it after they were moved there: what is reserved is
    /// asked of the context. And one for each context: two would hand out the same bus frames, which
    /// the hypervisor then refuses to map.
    ///
    /// Bus frame 0 is left out, which drivers take for none, and so is the window of interrupts.
    ///
    /// # Errors
    ///
    /// [`SpaceError::Limits`], [`SpaceError::Reserved`], [`SpaceError::OutOfReach`], and
    /// [`SpaceError::Bfns`] if there are more reserved ranges than `N`.
    pub fn new(client: IommuClient<H>, context: ContextId, reach: u64) -> Result<Self, SpaceError> {
        let (first, last) = aperture(&client, context)?;
        let out_of_reach = SpaceError::OutOfReach { reach };
        let limit = last_whole_frame(reach).ok_or(out_of_reach)?.min(last);
        let first = first.max(Bfn(1));
        if first > limit {
            return Err(out_of_reach);
        }
        let bfns = BfnAllocator::new(first, limit)?;
        let mut space = Self { client, context, bfns, limit };
        space.reserve(INTERRUPT_WINDOW.0, INTERRUPT_WINDOW.1)?;
        space.update_reserved()?;
        Ok(space)
    }

    /// Takes in what the context reserves by now: for when another device was moved there.
    ///
    /// # Errors
    ///
    /// [`SpaceError::Reserved`]; [`SpaceError::Bfns`] if a range is in use already, or there are too
    /// many. Nothing may be mapped anew then.
    pub fn update_reserved(&mut self) -> Result<(), SpaceError> {
        let mut room = [ReservedRange::default(); RESERVED_ROOM];
        let of = ReservedOf::Context(self.context);
        let ranges = match self.client.query_reserved(of, &mut room) {
            Ok(ranges) => ranges,
            // With RFC v7 alone they are not told, and the hypervisor refuses to map them.
            Err(error) if matches!(error.cause, Error::NotAvailable(_)) => return Ok(()),
            Err(error) => return Err(SpaceError::Reserved(error)),
        };
        for range in ranges {
            self.reserve(range.first, range.last)?;
        }
        Ok(())
    }

    /// Never hands out `first..=last`.
    ///
    /// # Errors
    ///
    /// [`BfnError`]: a part is in use, the range is empty, or there are too many.
    pub fn reserve(&mut self, first: Bfn, last: Bfn) -> Result<(), BfnError> {
        self.bfns.add_reserved(first, last)
    }
}

/// The first and the last bus frame of a context.
fn aperture<H: Hypercall>(
    client: &IommuClient<H>,
    context: ContextId,
) -> Result<(Bfn, Bfn), SpaceError> {
    match client.query_limits(context) {
        Ok(limits) => Ok((limits.aperture_first, limits.aperture_last)),
        Err(Error::NotAvailable(_)) => {
            let capabilities = client.query_capabilities().map_err(SpaceError::Limits)?;
            let last = last_whole_frame(capabilities.max_iova_addr);
            Ok((Bfn(0), last.unwrap_or_default()))
        }
        Err(error) => Err(SpaceError::Limits(error)),
    }
}
