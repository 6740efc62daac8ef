//! The calls of this project's own that ask about contexts and devices, make contexts with chosen
//! properties, and take the default context over.
//!
//! They name the domain they act for themselves. A service announces each with a bit of its
//! capabilities, and answers [`Error::NotAvailable`] without.

#![forbid(unsafe_code)]

mod device;
mod faults;
mod reserved;

use pviommu_abi::{
    AccessFlags, AllocContextExt, Background, Bfn, ContextId, DomId, Errno, Gfn, Lookup,
    LookupResult, Origin, OwnershipMode, PAGE_SHIFT, PAGE_SIZE, QueryLimits, Subop, TakeOwnership,
};

pub use self::device::{DeviceInfo, DevicePlace};
pub use self::faults::Faults;
pub use self::reserved::{MAX_RESERVED_RANGES, ReservedError, ReservedOf};

use crate::client::IommuClient;
use crate::error::{BadReply, Error};
use crate::hypercall::Hypercall;

/// What a bus frame maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The guest frame, if the hypervisor knows it.
    pub gfn: Option<Gfn>,
    /// The machine frame, if the caller may know it.
    pub mfn: Option<u64>,
    /// What devices may do.
    pub access: AccessFlags,
    /// Who made the entry.
    pub origin: Origin,
    /// log2 of the number of 4 KiB pages that the entry covers, 0 to 52.
    pub order: u32,
    /// The page is registers of a device.
    pub mmio: bool,
    /// The page is another domain's: a grant or a foreign mapping.
    pub foreign: bool,
}

/// The extensions, for one domain. Made by [`IommuClient::for_domain`].
#[derive(Clone, Copy, Debug)]
pub struct ForDomain<'a, H> {
    client: &'a IommuClient<H>,
    domain: DomId,
}

impl<H: Hypercall> ForDomain<'_, H> {
    /// What `bfn` maps to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `ENOENT` if there is no such context or only its background, with
    /// `EINVAL` outside of the aperture, and with `EPERM` or `ESRCH` for a domain the caller may
    /// not act for or that does not exist; [`Error::NotAvailable`] without
    /// `CapabilityFlags::LOOKUP`; [`BadReply::Field`].
    pub fn lookup(&self, context: ContextId, bfn: Bfn) -> Result<Mapping, Error> {
        let mut arg =
            Lookup { ctx_id: context.into(), domid: self.domain, bfn, ..Lookup::default() };
        self.client.call(&mut arg)?;
        mapping(&arg)
    }

    /// What a context can hold and what its domain may use.
    ///
    /// Use may be above what is allowed, where a limit was lowered.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `ENOENT` if there is no such context, and with `EPERM` or `ESRCH` as
    /// for [`lookup`](Self::lookup); [`Error::NotAvailable`] without
    /// `CapabilityFlags::QUERY_LIMITS`; [`BadReply::Field`].
    pub fn query_limits(&self, context: ContextId) -> Result<QueryLimits, Error> {
        let asked =
            QueryLimits { ctx_id: context.into(), domid: self.domain, ..QueryLimits::default() };
        let mut arg = asked;
        self.client.call(&mut arg)?;
        check_limits(&arg)?;
        // What only goes in is not the hypervisor's to change.
        let QueryLimits { size, flags, ctx_id, domid, reserved0, .. } = asked;
        Ok(QueryLimits { size, flags, ctx_id, domid, reserved0, ..arg })
    }

    /// Allocates a context with nothing mapped. `background` is what its unmapped bus frames do;
    /// `aperture` the first and the last bus frame that can be mapped, `None` for the widest there
    /// is.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] if no context is free or no memory for its tables; [`Error::Refused`]
    /// with `EINVAL` for an aperture that is empty, too wide, or of bus frame 0 alone, which the
    /// ABI cannot say, and with `EPERM` or `ESRCH` as for [`lookup`](Self::lookup);
    /// [`Error::NotAvailable`] without `CapabilityFlags::ALLOC_CONTEXT_EXT` or without such a
    /// background; [`BadReply::DefaultContext`]; [`BadReply::Field`].
    pub fn alloc_context_ext(
        &self,
        background: Background,
        aperture: Option<(Bfn, Bfn)>,
    ) -> Result<ContextId, Error> {
        let widest = (Bfn(0), Bfn(0));
        if aperture == Some(widest) {
            return Err(Error::from_errno(Errno::EINVAL));
        }
        let (aperture_first, aperture_last) = aperture.unwrap_or(widest);
        let mut arg = AllocContextExt {
            domid: self.domain,
            background,
            aperture_first,
            aperture_last,
            ..AllocContextExt::default()
        };
        self.client.call(&mut arg)?;
        let context = ContextId::try_from(arg.ctx_id)
            .map_err(|_| bad(Subop::ALLOC_CONTEXT_EXT, "ctx_id", arg.ctx_id.into()))?;
        if context == ContextId::DEFAULT {
            return Err(Error::BadReply(BadReply::DefaultContext));
        }
        Ok(context)
    }

    /// Switches the default context from the map the hypervisor set up to the domain's own, or
    /// back: in the form `mode`. With `CLEAR`, `background` is what its unmapped bus frames do from
    /// then on; with the others it is [`Background::DEFAULT`].
    ///
    /// Until then the default context can be looked up and not edited. A call for the state that is
    /// reached already changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EACCES` if the hypervisor maintains the map, and always will, with
    /// `EINVAL` for a mode or a background that cannot be, and with `EPERM` or `ESRCH` as for [`lookup`](Self::lookup);
    /// [`Error::Exhausted`] if the new map cannot be built, and the old one stays;
    /// [`Error::NotAvailable`] without `CapabilityFlags::TAKE_OWNERSHIP` or without such a
    /// background; [`Error::Failed`], after which devices may use either map, or none.
    pub fn take_ownership(&self, mode: OwnershipMode, background: Background) -> Result<(), Error> {
        let domid = self.domain;
        self.client.call(&mut TakeOwnership { domid, mode, background, ..TakeOwnership::default() })
    }
}

impl<H: Hypercall> IommuClient<H> {
    /// The extensions, for another domain's contexts. A batch has
    /// [`BatchBuilder::for_domain`](crate::BatchBuilder::for_domain) instead.
    pub const fn for_domain(&self, domain: DomId) -> ForDomain<'_, H> {
        ForDomain { client: self, domain }
    }

    /// [`ForDomain::lookup`] in a context of the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn lookup(&self, context: ContextId, bfn: Bfn) -> Result<Mapping, Error> {
        self.for_domain(DomId::SELF).lookup(context, bfn)
    }

    /// [`ForDomain::query_limits`] of the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn query_limits(&self, context: ContextId) -> Result<QueryLimits, Error> {
        self.for_domain(DomId::SELF).query_limits(context)
    }

    /// [`ForDomain::alloc_context_ext`] for the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn alloc_context_ext(
        &self,
        background: Background,
        aperture: Option<(Bfn, Bfn)>,
    ) -> Result<ContextId, Error> {
        self.for_domain(DomId::SELF).alloc_context_ext(background, aperture)
    }

    /// [`ForDomain::take_ownership`] of the calling domain's default context.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take_ownership(&self, mode: OwnershipMode, background: Background) -> Result<(), Error> {
        self.for_domain(DomId::SELF).take_ownership(mode, background)
    }
}

const fn bad(subop: Subop, field: &'static str, value: u64) -> Error {
    Error::BadReply(BadReply::Field { subop, field, value })
}

fn mapping(reply: &Lookup) -> Result<Mapping, Error> {
    // All frames whose address fits 64 bits.
    const MAX_ORDER: u32 = u64::BITS - PAGE_SHIFT;
    let wrong = |field, value| Err(bad(Subop::LOOKUP, field, value));
    let Lookup { gfn, mfn, access, origin, order, result, .. } = *reply;
    let gfn = result.contains(LookupResult::GFN).then_some(gfn);
    let mfn = result.contains(LookupResult::MFN).then_some(mfn);
    match (gfn, mfn) {
        (Some(gfn), _) if gfn.address().is_none() => return wrong("gfn", gfn.0),
        (_, Some(mfn)) if mfn.checked_mul(PAGE_SIZE).is_none() => return wrong("mfn", mfn),
        _ => {}
    }
    if AccessFlags::from_bits(access.bits()).is_none() {
        return wrong("access", access.bits().into());
    }
    if origin.name().is_none() {
        return wrong("origin", origin.0.into());
    }
    if order > MAX_ORDER {
        return wrong("order", order.into());
    }
    let mmio = result.contains(LookupResult::MMIO);
    let foreign = result.contains(LookupResult::FOREIGN);
    Ok(Mapping { gfn, mfn, access, origin, order, mmio, foreign })
}

fn check_limits(reply: &QueryLimits) -> Result<(), Error> {
    let wrong = |field, value| Err(bad(Subop::QUERY_LIMITS, field, value));
    if reply.aperture_last < reply.aperture_first || reply.aperture_last.address().is_none() {
        return wrong("aperture_last", reply.aperture_last.0);
    }
    if reply.page_sizes & PAGE_SIZE == 0 {
        return wrong("page_sizes", reply.page_sizes);
    }
    // The default is what one asks for; the answer is what it stands for.
    match reply.background {
        Background::FAULT | Background::SCRATCH => Ok(()),
        background => wrong("background", background.0.into()),
    }
}
