//! The guest driver of a replay: typed calls, issued on the CPU the trace names.

use std::fmt;

use pviommu_abi::{
    AllocFlags, Bfn, ContextId, DomId, Errno, FreeFlags, Gfn, MapFlags, PciDevice, Subop,
};
use pviommu_guest::{Error, Hypercall, IommuClient};
use pviommu_hypervisor::platform::Access;

use super::error::ReplayError;
use super::shadow::Extent;
use super::spans::Span;
use crate::machine::{Bed, Guest};

/// Most pages of one call.
const CALL: u64 = u32::MAX as u64;

/// How many pages a call did, and the error that stopped it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Done {
    pub(super) pages: u64,
    pub(super) error: Option<Error>,
}

impl Done {
    /// All of `pages` pages.
    pub(super) fn all(pages: u64) -> Self {
        Self { pages, error: None }
    }

    /// None, because of `errno`.
    pub(super) fn refused(errno: Errno) -> Self {
        Self { pages: 0, error: Some(Error::from_errno(errno)) }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages", self.pages)?;
        match self.error {
            Some(error) => write!(f, " and then {error}"),
            None => Ok(()),
        }
    }
}

/// A guest on all its CPUs.
pub(super) struct Driver<'b> {
    guests: Vec<Guest<'b>>,
    /// The trace's number of each CPU.
    cpus: Vec<u32>,
    /// The CPU the next call is issued on.
    now: usize,
}

/// Lets a client call through a guest that stays where it is.
struct Through<'g, 'b>(&'g Guest<'b>);

impl Hypercall for Through<'_, '_> {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        self.0.iommu_op(subop, arg, buffer)
    }
}

impl<'b> Driver<'b> {
    pub(super) fn new(bed: &'b Bed<'_>, domain: DomId, cpus: &[u32]) -> Self {
        let guests = (0..cpus.len()).map(|cpu| bed.guest(domain, cpu)).collect();
        Self { guests, cpus: cpus.to_vec(), now: 0 }
    }

    /// Issues the next calls on the CPU with this number in the trace.
    pub(super) fn on(&mut self, cpu: u32) {
        self.now = self.cpus.binary_search(&cpu).unwrap_or(0);
    }

    fn client(&self) -> IommuClient<Through<'_, 'b>> {
        IommuClient::new(Through(&self.guests[self.now]))
    }

    /// Sets the service up for `contexts` contexts and 2^`arena_order` table frames.
    pub(super) fn init(&self, contexts: u16, arena_order: u8) -> Result<(), ReplayError> {
        let client = self.client();
        let answer = client
            .init(contexts.into(), arena_order.into())
            .and_then(|()| client.probe())
            .map_err(|error| ReplayError::NoService { answer: error.to_string() })?;
        if answer.max_ctx_no < contexts {
            let answer = format!("{} contexts instead of {contexts}", answer.max_ctx_no);
            return Err(ReplayError::NoService { answer });
        }
        Ok(())
    }

    pub(super) fn alloc(&self) -> Result<ContextId, Error> {
        self.client().alloc_context(AllocFlags::empty())
    }

    /// Frees a context; the devices in it go to the default context.
    pub(super) fn free(&self, context: ContextId) -> Result<(), Error> {
        self.client().free_context(context, FreeFlags::REATTACH_DEFAULT)
    }

    pub(super) fn attach(&self, device: PciDevice, context: ContextId) -> Result<(), Error> {
        self.client().reattach_device(device, context)
    }

    /// Maps an extent by one call, or by as many as its size takes.
    pub(super) fn map(&self, context: ContextId, extent: &Extent, cache: bool) -> Done {
        let mut flags = MapFlags::empty();
        flags.set(MapFlags::READABLE, extent.access.contains(Access::READ));
        flags.set(MapFlags::WRITEABLE, extent.access.contains(Access::WRITE));
        flags.set(MapFlags::CACHE, cache);
        let client = self.client();
        in_calls(extent.pages, |offset, pages| {
            let (bfn, gfn) = (Bfn(extent.bfn + offset), Gfn(extent.gfn + offset));
            client.map(context, bfn, gfn, pages, flags)
        })
    }

    pub(super) fn unmap(&self, context: ContextId, bus: Span) -> Done {
        let client = self.client();
        in_calls(bus.pages(), |offset, pages| client.unmap(context, Bfn(bus.first + offset), pages))
    }

    /// Hypercalls made, each counted once however often it was continued.
    pub(super) fn hypercalls(&self) -> u64 {
        self.guests.iter().map(Guest::hypercalls).sum()
    }

    /// Nanoseconds inside `iommu_op`.
    pub(super) fn nanoseconds(&self) -> u64 {
        self.guests.iter().map(Guest::nanoseconds).sum()
    }
}

/// Does `pages` pages by calls of at most [`CALL`] pages.
fn in_calls(
    pages: u64,
    mut call: impl FnMut(u64, u32) -> Result<u32, pviommu_guest::MapError>,
) -> Done {
    let mut done = Done::all(0);
    while done.pages < pages && done.error.is_none() {
        let next = (pages - done.pages).min(CALL);
        match call(done.pages, u32::try_from(next).unwrap_or(u32::MAX)) {
            Ok(count) => done.pages += u64::from(count),
            Err(error) => {
                done = Done { pages: done.pages + u64::from(error.done), error: Some(error.cause) };
            }
        }
    }
    done
}
