//! The calls of PV-IOMMU RFC v7, typed.
//!
//! A hypervisor can answer anything. What it answers is checked here before it is returned: a count
//! above what was asked for would make a driver hand out, or give back, pages it never mapped.

#![forbid(unsafe_code)]

use pviommu_abi::{
    AllocContext, AllocFlags, Argument, Bfn, Capabilities, ContextId, DomId, Errno, FlushPages,
    FreeContext, FreeFlags, Gfn, Init, MapFlags, MapPages, PAGE_SIZE_U32, PciDevice,
    ReattachDevice, RemoteCmd, Subop, UnmapPages,
};
use zerocopy::IntoBytes;

use crate::error::{BadReply, Error, MapError};
use crate::hypercall::Hypercall;

/// How many contexts [`IommuClient::probe`] asks for, as the Linux driver does.
const PROBE_CONTEXTS: u32 = 128;
/// log2 of how many frames [`IommuClient::probe`] asks to set aside for tables, as the Linux driver
/// does.
const PROBE_ARENA_ORDER: u32 = 12;

/// The service, as a guest driver sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct IommuClient<H> {
    hypercall: H,
}

impl<H: Hypercall> IommuClient<H> {
    /// A client that calls through `hypercall`.
    pub const fn new(hypercall: H) -> Self {
        Self { hypercall }
    }

    /// What it calls through.
    pub const fn hypercall(&self) -> &H {
        &self.hypercall
    }

    /// Issues one call with a structure that holds no pointer.
    ///
    /// # Errors
    ///
    /// Anything but 0 from the hypervisor. `arg` holds what it left there either way.
    pub fn call<A: Argument>(&self, arg: &mut A) -> Result<(), Error> {
        let ret = self.hypercall.iommu_op(A::SUBOP, arg.as_mut_bytes(), None);
        Error::check(A::SUBOP, ret)
    }

    /// Issues one call with a structure that points to `buffer`, by the rules of
    /// [`Hypercall::iommu_op`].
    ///
    /// # Errors
    ///
    /// Anything but 0 from the hypervisor. `arg` and `buffer` hold what it left there either way.
    pub fn call_with_buffer<A: Argument>(
        &self,
        arg: &mut A,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let ret = self.hypercall.iommu_op(A::SUBOP, arg.as_mut_bytes(), Some(buffer));
        Error::check(A::SUBOP, ret)
    }

    /// A client for another domain's contexts, devices and pages, for a domain that may act for it.
    /// It has the calls of PV-IOMMU RFC v7 only; see [`for_domain`](Self::for_domain) for others.
    pub fn on_behalf_of(&self, domain: DomId) -> IommuClient<Remote<'_, H>> {
        IommuClient::new(Remote { hypercall: &self.hypercall, domain })
    }

    /// What the service can do.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if there is no service; [`BadReply::PageSizes`].
    pub fn query_capabilities(&self) -> Result<Capabilities, Error> {
        let mut arg = Capabilities::default();
        self.call(&mut arg)?;
        if arg.pgsize_mask & PAGE_SIZE_U32 == 0 {
            return Err(Error::BadReply(BadReply::PageSizes(arg.pgsize_mask)));
        }
        Ok(arg)
    }

    /// Sets up `max_contexts` contexts and 2^`arena_order` frames for their tables; once per
    /// domain.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EACCES` if that was done before; [`Error::Exhausted`] above what
    /// policy allows.
    pub fn init(&self, max_contexts: u32, arena_order: u32) -> Result<(), Error> {
        self.call(&mut Init { max_ctx_no: max_contexts, arena_order })
    }

    /// Finds the service and sets it up if nobody has, in the steps of the Linux driver. The
    /// `max_ctx_no` that comes back can be 0 still, if who set it up asked for none.
    ///
    /// # Errors
    ///
    /// Those of [`query_capabilities`](Self::query_capabilities) and [`init`](Self::init), but not
    /// `EACCES`.
    pub fn probe(&self) -> Result<Capabilities, Error> {
        let found = self.query_capabilities()?;
        if found.max_ctx_no != 0 {
            return Ok(found);
        }
        match self.init(PROBE_CONTEXTS, PROBE_ARENA_ORDER) {
            // Somebody else, such as firmware or another driver, was first.
            Ok(()) | Err(Error::Refused(Errno::EACCES)) => self.query_capabilities(),
            Err(error) => Err(error),
        }
    }

    /// Allocates a context with nothing mapped.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] if none is free; [`BadReply::DefaultContext`].
    pub fn alloc_context(&self, flags: AllocFlags) -> Result<ContextId, Error> {
        let mut arg = AllocContext { alloc_flags: flags, ..AllocContext::default() };
        self.call(&mut arg)?;
        if arg.ctx_no == ContextId::DEFAULT {
            return Err(Error::BadReply(BadReply::DefaultContext));
        }
        Ok(arg.ctx_no)
    }

    /// Frees a context and all its mappings.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EBUSY` if devices are attached and the flags do not say to move
    /// them.
    pub fn free_context(&self, context: ContextId, flags: FreeFlags) -> Result<(), Error> {
        self.call(&mut FreeContext { ctx_no: context, free_flags: flags, ..FreeContext::default() })
    }

    /// Moves a device to a context.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] with `ENODEV` if it is not the domain's device; [`Error::Refused`];
    /// [`Error::Failed`], after which it may be attached to neither.
    pub fn reattach_device(&self, device: PciDevice, context: ContextId) -> Result<(), Error> {
        self.call(&mut ReattachDevice { ctx_no: context, dev: device, ..ReattachDevice::default() })
    }

    /// Maps `pages` pages of 4 KiB: guest frames from `gfn` on at bus frames from `bfn` on. Returns
    /// `pages`.
    ///
    /// # Errors
    ///
    /// [`MapError`]: the pages before the one that failed stay mapped.
    pub fn map(
        &self,
        context: ContextId,
        bfn: Bfn,
        gfn: Gfn,
        pages: u32,
        flags: MapFlags,
    ) -> Result<u32, MapError> {
        let mut arg = MapPages {
            ctx_no: context,
            gfn,
            dfn: bfn,
            map_flags: flags,
            pgsize: PAGE_SIZE_U32,
            nr_pages: pages,
            ..MapPages::default()
        };
        let outcome = self.call(&mut arg);
        counted(Subop::MAP_PAGES, pages, arg.mapped, outcome)
    }

    /// Unmaps `pages` pages of 4 KiB from `bfn` on. Returns `pages`, and by then no device can
    /// reach them.
    ///
    /// # Errors
    ///
    /// [`MapError`]: the pages before the one that failed stay unmapped. What is left may still be
    /// reached by devices, and must not be used for anything else.
    pub fn unmap(&self, context: ContextId, bfn: Bfn, pages: u32) -> Result<u32, MapError> {
        let mut arg = UnmapPages {
            ctx_no: context,
            dfn: bfn,
            pgsize: PAGE_SIZE_U32,
            nr_pages: pages,
            ..UnmapPages::default()
        };
        let outcome = self.call(&mut arg);
        counted(Subop::UNMAP_PAGES, pages, arg.unmapped, outcome)
    }

    /// Makes pages mapped with [`MapFlags::NO_FLUSH`] visible to devices.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] without `CapabilityFlags::DEFERRED_FLUSH`.
    pub fn flush(&self, context: ContextId, bfn: Bfn, pages: u32) -> Result<(), Error> {
        self.call(&mut FlushPages {
            ctx_no: context,
            dfn: bfn,
            pgsize: PAGE_SIZE_U32,
            nr_pages: pages,
            ..FlushPages::default()
        })
    }
}

/// Believes a count only if the status allows it: all pages after success, at most all of them
/// after an error.
pub(crate) fn counted(
    subop: Subop,
    asked: u32,
    done: u32,
    outcome: Result<(), Error>,
) -> Result<u32, MapError> {
    let lie = Error::BadReply(BadReply::Count { subop, asked, done });
    match outcome {
        Ok(()) if done == asked => Ok(done),
        Err(cause @ Error::BadReply(_)) => Err(MapError { done: 0, cause }),
        Err(cause) if done <= asked => Err(MapError { done, cause }),
        Ok(()) | Err(_) => Err(MapError { done: 0, cause: lie }),
    }
}

/// Calls made for another domain: each is wrapped in a `REMOTE_CMD`.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a, H> {
    hypercall: &'a H,
    domain: DomId,
}

impl<H: Hypercall> Hypercall for Remote<'_, H> {
    /// Answers `-EOPNOTSUPP` for a call that has a buffer: those name their domain themselves.
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        let (Ok(inner), None) = (u16::try_from(subop.0), buffer) else {
            return Errno::EOPNOTSUPP.to_ret();
        };
        let mut remote = RemoteCmd { domid: self.domain, subop: inner, ..RemoteCmd::default() };
        self.hypercall.iommu_op(Subop::REMOTE_CMD, remote.as_mut_bytes(), Some(arg))
    }
}
