//! One context, and the bus frames in it.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pviommu_abi::{AllocFlags, Bfn, ContextId, FreeFlags, ReservedRange};
use spin::Mutex;

use super::buffer::{Buffer, bus_pages, runs};
use super::error::DmaError;
use super::kernel::Kernel;
use super::limits::{Limits, last_whole_frame, no_service};
use super::map::Target;
use super::mode::{Failed, Hold, Request};
use super::queue::{Deferral, Waiting};
use super::storage::{DmaStorage, Room};
use crate::bfn::{BfnAllocator, BfnError, BfnRange};
use crate::client::IommuClient;
use crate::error::Error;
use crate::extensions::ReservedOf;

/// How many reserved ranges can be told at once. Machines have fewer than ten.
const RESERVED_ROOM: usize = 64;

/// Where writes are interrupts on x86, whatever a table maps there: 0xfee0_0000 to 0xfeef_ffff.
const INTERRUPT_WINDOW: (Bfn, Bfn) = (Bfn(0xfee00), Bfn(0xfeeff));

/// One context of the IOMMU, for all CPUs and any number of devices. [The module](super) tells how it
/// is used.
///
/// When it goes away, so does its context if it was [`open`](Self::open)ed.
#[derive(Debug)]
pub struct DmaSpace<'m, K: Kernel> {
    client: IommuClient<K>,
    context: ContextId,
    is_own: bool,
    limits: Limits,
    pub(super) bfns: BfnAllocator<'m>,
    pub(super) rooms: &'m [Mutex<Room>],
    pub(super) waiting: &'m Waiting,
    pub(super) deferral: Deferral,
    lost: AtomicU64,
}

impl<'m, K: Kernel> DmaSpace<'m, K> {
    /// Finds the service, sets it up if nobody has, and allocates a context in which nothing is
    /// mapped.
    ///
    /// # Errors
    ///
    /// [`DmaError::NoService`], [`DmaError::Context`], [`DmaError::Limits`],
    /// [`DmaError::Reserved`], and [`DmaError::Bfns`] if the storage is in use already, or too
    /// small.
    pub fn open<const RANGES: usize, const CPUS: usize>(
        kernel: K,
        storage: &'m DmaStorage<RANGES, CPUS>,
    ) -> Result<Self, DmaError> {
        let client = IommuClient::new(kernel);
        client.probe().map_err(no_service)?;
        let context = client.alloc_context(AllocFlags::empty()).map_err(DmaError::Context)?;
        let freed = |client: &IommuClient<K>| client.free_context(context, FreeFlags::empty());
        let limits = match Limits::of(&client, context) {
            Ok(limits) => limits,
            Err(error) => {
                let _ = freed(&client);
                return Err(error);
            }
        };
        let bfns = match BfnAllocator::new(limits.first, limits.last, &storage.bfns) {
            Ok(bfns) => bfns,
            Err(error) => {
                let _ = freed(&client);
                return Err(error.into());
            }
        };
        Self::new(client, context, true, limits, bfns, storage)
    }

    /// The same in a context that there is, of which nobody else maps bus frames.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn in_context<const RANGES: usize, const CPUS: usize>(
        kernel: K,
        context: ContextId,
        storage: &'m DmaStorage<RANGES, CPUS>,
    ) -> Result<Self, DmaError> {
        let client = IommuClient::new(kernel);
        let limits = Limits::of(&client, context)?;
        let bfns = BfnAllocator::new(limits.first, limits.last, &storage.bfns)?;
        Self::new(client, context, false, limits, bfns, storage)
    }

    fn new<const RANGES: usize, const CPUS: usize>(
        client: IommuClient<K>,
        context: ContextId,
        is_own: bool,
        limits: Limits,
        bfns: BfnAllocator<'m>,
        storage: &'m DmaStorage<RANGES, CPUS>,
    ) -> Result<Self, DmaError> {
        let (rooms, waiting) = (storage.rooms.as_slice(), &storage.waiting);
        waiting.reset();
        let (deferral, lost) = (Deferral::default(), AtomicU64::new(0));
        let space = Self { client, context, is_own, limits, bfns, rooms, waiting, deferral, lost };
        space.reserve(INTERRUPT_WINDOW.0, INTERRUPT_WINDOW.1)?;
        space.update_reserved(ReservedOf::Context(context))?;
        Ok(space)
    }

    /// When unmaps of devices with deferred unmaps are made, if not by [`Deferral::default`].
    #[must_use]
    pub fn with_deferral(mut self, deferral: Deferral) -> Self {
        self.deferral = deferral;
        self
    }

    /// The kernel it was made with.
    pub const fn kernel(&self) -> &K {
        self.client.hypercall()
    }

    /// The client it calls through.
    pub const fn client(&self) -> &IommuClient<K> {
        &self.client
    }

    /// The context it maps in.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// How many bus frames are free, of those that any device can reach.
    pub fn free_pages(&self) -> u64 {
        self.bfns.free_pages()
    }

    /// How many pages were lost: buffers that were forgotten because devices may still reach them.
    pub fn lost_pages(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Never hands out `first..=last` from now on. Reserved ranges that the service tells of are
    /// kept by themselves; with RFC v7 alone none are told.
    ///
    /// # Errors
    ///
    /// [`BfnError`]: a part is in use, the range is empty, or there are too many.
    pub fn reserve(&self, first: Bfn, last: Bfn) -> Result<(), BfnError> {
        self.bfns.add_reserved(first, last)
    }

    /// Unmaps what waits too long. To be called from a timer, at least as often as
    /// [`Deferral::microseconds`] say.
    ///
    /// # Errors
    ///
    /// [`DmaError::StillMapped`]: what could not be unmapped goes on waiting.
    pub fn poll(&self) -> Result<(), DmaError> {
        if self.waiting.is_due(self.deferral, self.kernel().now_us()) {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Frees the context. All devices are gone: they borrow the space.
    ///
    /// # Errors
    ///
    /// [`DmaError::Context`]: devices that were attached by other means are in it. It stays.
    pub fn close(mut self) -> Result<(), DmaError> {
        self.end().map_err(DmaError::Context)
    }

    fn end(&mut self) -> Result<(), Error> {
        // Nothing is left to try after the last time.
        let _ = self.flush();
        if core::mem::take(&mut self.is_own) {
            self.client.free_context(self.context, FreeFlags::empty())?;
        }
        Ok(())
    }

    /// Takes in what is reserved, so that it is never handed out.
    pub(super) fn update_reserved(&self, of: ReservedOf) -> Result<(), DmaError> {
        let mut room = [ReservedRange::default(); RESERVED_ROOM];
        let ranges = match self.client.query_reserved(of, &mut room) {
            Ok(ranges) => ranges,
            // With RFC v7 alone they are not told, and the hypervisor refuses to map them.
            Err(error) if matches!(error.cause, Error::NotAvailable(_)) => return Ok(()),
            Err(error) => return Err(DmaError::Reserved(error)),
        };
        for range in ranges {
            self.reserve(range.first, range.last)?;
        }
        Ok(())
    }

    /// The last bus frame of which a device reaches every byte that can put byte addresses up to
    /// `mask` on the bus.
    pub(super) fn limit_of(&self, mask: u64) -> Result<Bfn, DmaError> {
        let last = last_whole_frame(mask).map(|last| last.min(self.limits.last));
        last.filter(|last| *last >= self.limits.first).ok_or(DmaError::OutOfReach { mask })
    }

    /// Whether `CACHE` can be asked for.
    pub(super) const fn has_cache(&self) -> bool {
        self.limits.cache
    }

    pub(super) const fn has_batches(&self) -> bool {
        self.limits.elements > 0
    }

    pub(super) const fn most_elements(&self) -> usize {
        self.limits.elements
    }

    /// Most pages of an element.
    pub(super) const fn most_pages(&self) -> u32 {
        self.limits.pages
    }

    /// Takes bus frames for a buffer and maps it there.
    pub(super) fn map_buffer<B: Buffer + ?Sized>(
        &self,
        buffer: &B,
        request: Request,
    ) -> Result<BfnRange, Failed> {
        let pages = bus_pages(buffer).ok_or(DmaError::Buffer)?;
        let range = self.allocate(pages, request)?;
        let target =
            Target { first: range.first(), pages, access: request.access, owner: request.owner };
        self.keep_if(range, self.map_runs(target, &runs(buffer)))
    }

    /// The range, if its pages were mapped; frees it if none of them is.
    pub(super) fn keep_if(
        &self,
        range: BfnRange,
        mapped: Result<(), DmaError>,
    ) -> Result<BfnRange, Failed> {
        match mapped {
            Ok(()) => Ok(range),
            // It stays taken: nobody else is given it.
            Err(cause @ DmaError::StillMapped(_)) => {
                self.lose(Hold::pages(&range));
                Err(Failed { cause, is_reachable: true })
            }
            Err(cause) => {
                self.free(range);
                Err(cause.into())
            }
        }
    }

    /// Takes bus frames.
    pub(super) fn allocate(&self, pages: u32, request: Request) -> Result<BfnRange, DmaError> {
        let cpu = self.kernel().cpu();
        let take = || match request.align {
            None => self.bfns.allocate(cpu, pages.into(), request.limit),
            Some(align) => self.bfns.allocate_aligned(pages.into(), align, request.limit),
        };
        // What waits to be unmapped may be what is missing.
        let taken = take().or_else(|error| self.flush().map_err(|_| error).and_then(|()| take()));
        Ok(taken?)
    }

    pub(super) fn free(&self, range: BfnRange) {
        // Only a range of another space is not taken back, and there is none here.
        let _ = self.bfns.free(self.kernel().cpu(), range);
    }

    /// Counts pages that devices may go on reaching.
    pub(super) fn lose(&self, pages: u32) {
        self.lost.fetch_add(pages.into(), Relaxed);
    }
}

impl<K: Kernel> Drop for DmaSpace<'_, K> {
    fn drop(&mut self) {
        // `close` tells errors.
        let _ = self.end();
    }
}
