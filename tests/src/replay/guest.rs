//! The guest driver of a replay: typed calls, issued on the CPU the trace names.

mod batch;

use pviommu_abi::{AllocFlags, Bfn, ContextId, DomId, FreeFlags, Gfn, PciDevice, Subop};
use pviommu_guest::{Error, Hypercall, IommuClient, MapError};

use super::calls::{Call, Done, map_flags};
use super::error::ReplayError;
use super::spans::Span;
use crate::machine::{Bed, Guest};

pub(super) use batch::Batches;
use batch::Most;

/// Most pages of one call.
const CALL: u64 = u32::MAX as u64;

/// A guest on all its CPUs.
pub(super) struct Driver<'b> {
    guests: Vec<Guest<'b>>,
    /// The trace's number of each CPU.
    cpus: Vec<u32>,
    /// The CPU the next call is issued on.
    now: usize,
    /// Most operations of one hypercall.
    batch: usize,
    /// What the service says of batches, once it was asked.
    most: Option<Most>,
    batches: Batches,
}

/// Lets a client call through a guest that stays where it is.
struct Through<'g, 'b>(&'g Guest<'b>);

impl Hypercall for Through<'_, '_> {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        self.0.iommu_op(subop, arg, buffer)
    }
}

impl<'b> Driver<'b> {
    pub(super) fn new(bed: &'b Bed<'_>, domain: DomId, cpus: &[u32], batch: usize) -> Self {
        let guests = (0..cpus.len()).map(|cpu| bed.guest(domain, cpu)).collect();
        Self { guests, cpus: cpus.to_vec(), now: 0, batch, most: None, batches: Batches::default() }
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

    /// The last bus frame that can be mapped in a context.
    pub(super) fn aperture_last(&self, context: ContextId) -> Result<u64, Error> {
        self.client().query_limits(context).map(|limits| limits.aperture_last.0)
    }

    /// Frees a context; the devices in it go to the default context.
    pub(super) fn free(&self, context: ContextId) -> Result<(), Error> {
        self.client().free_context(context, FreeFlags::REATTACH_DEFAULT)
    }

    pub(super) fn attach(&self, device: PciDevice, context: ContextId) -> Result<(), Error> {
        self.client().reattach_device(device, context)
    }

    /// Does `calls` in order, in as few hypercalls as the batch allows; what became of each.
    /// `expected` tells which of them are meant to fail: all others end their batch if they do.
    pub(super) fn run(
        &mut self,
        context: ContextId,
        calls: &[Call],
        expected: &[Done],
    ) -> Vec<Done> {
        if self.batch > 1 {
            return self.run_batches(context, calls, expected);
        }
        let single = |(call, expected)| self.run_one(context, call, expected);
        calls.iter().zip(expected).map(single).collect()
    }

    /// Does one call by a hypercall of its own, one of v7 if there is such a one.
    fn run_one(&mut self, context: ContextId, call: &Call, expected: &Done) -> Done {
        match *call {
            Call::Map { extent, how } => {
                let flags = map_flags(extent.access, how);
                let client = self.client();
                in_calls(extent.pages, CALL, |offset, pages| {
                    let (bfn, gfn) = (Bfn(extent.bfn + offset), Gfn(extent.gfn + offset));
                    client.map(context, bfn, gfn, pages, flags)
                })
            }
            Call::Unmap { bus, later: false } => {
                let client = self.client();
                in_calls(bus.pages(), CALL, |offset, pages| {
                    client.unmap(context, Bfn(bus.first + offset), pages)
                })
            }
            Call::Flush { waiting: Some(span) } => self.flush(context, span),
            Call::Flush { waiting: None } => Done::all(0),
            Call::Unmap { later: true, .. } => {
                let done = self.run_batches(context, &[*call], &[*expected]);
                done.first().copied().unwrap_or(Done::all(0))
            }
        }
    }

    fn flush(&self, context: ContextId, span: Span) -> Done {
        let client = self.client();
        let flushed = in_calls(span.pages(), CALL, |offset, pages| {
            let flushed = client.flush(context, Bfn(span.first + offset), pages);
            flushed.map(|()| pages).map_err(|cause| MapError { done: 0, cause })
        });
        Done { pages: 0, ..flushed }
    }

    /// Hypercalls made, each counted once however often it was continued.
    pub(super) fn hypercalls(&self) -> u64 {
        self.guests.iter().map(Guest::hypercalls).sum()
    }

    /// Nanoseconds inside `iommu_op`.
    pub(super) fn nanoseconds(&self) -> u64 {
        self.guests.iter().map(Guest::nanoseconds).sum()
    }

    /// What was done by batches.
    pub(super) fn batches(&self) -> Batches {
        self.batches
    }
}

/// Parts of at most `most` pages, as offset and pages.
fn parts(pages: u64, most: u64) -> impl Iterator<Item = (u64, u32)> {
    let most = most.clamp(1, CALL);
    (0..pages.div_ceil(most)).map(move |part| {
        let offset = part * most;
        (offset, u32::try_from((pages - offset).min(most)).unwrap_or(u32::MAX))
    })
}

/// Does `pages` pages by calls of at most `most` pages.
fn in_calls(
    pages: u64,
    most: u64,
    mut call: impl FnMut(u64, u32) -> Result<u32, MapError>,
) -> Done {
    let mut done = Done::all(0);
    for (offset, pages) in parts(pages, most) {
        done = match call(offset, pages) {
            Ok(count) => done.and(Done::all(count.into())),
            Err(error) => {
                return done.and(Done { pages: error.done.into(), error: Some(error.cause) });
            }
        };
    }
    done
}
