//! Arguments between guest memory and here: in once, out what changed.

use pviommu_abi::{
    AccessFlags, AllocContext, AllocContextExt, Batch, Capabilities, DomId, Errno, FlushPages,
    FreeContext, Gfn, GuestPtr, Init, Lookup, LookupResult, MapPages, Origin as WireOrigin,
    QueryDevice, QueryLimits, QueryReserved, ReadFaults, ReattachDevice, RemoteCmd, Subop,
    TakeOwnership, UnmapPages,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    command::Effect,
    extensible::{Extensible, offset},
};
use crate::{
    context::{End, Mapping, Progress},
    format::Origin,
    platform::{Access, GuestMemory},
};

/// The argument of a call, as the guest wrote it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    /// The subop has none, or does not read it.
    None,
    Capabilities(Capabilities),
    Init(Init),
    AllocContext(AllocContext),
    FreeContext(FreeContext),
    ReattachDevice(ReattachDevice),
    MapPages(MapPages),
    UnmapPages(UnmapPages),
    FlushPages(FlushPages),
    Batch(Extensible<Batch>),
    QueryReserved(Extensible<QueryReserved>),
    TakeOwnership(Extensible<TakeOwnership>),
    Lookup(Extensible<Lookup>),
    QueryDevice(Extensible<QueryDevice>),
    ReadFaults(Extensible<ReadFaults>),
    QueryLimits(Extensible<QueryLimits>),
    AllocContextExt(Extensible<AllocContextExt>),
}

fn read<T: FromBytes + IntoBytes>(
    memory: &impl GuestMemory,
    domain: DomId,
    from: GuestPtr,
) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    memory.copy_in(domain, from, value.as_mut_bytes()).map_err(|_| Errno::EFAULT)?;
    Ok(value)
}

fn write<T: IntoBytes + Immutable>(
    memory: &impl GuestMemory,
    domain: DomId,
    to: GuestPtr,
    value: &T,
) -> Result<(), Errno> {
    memory.copy_out(domain, to, value.as_bytes()).map_err(|_| Errno::EFAULT)
}

/// Reads the argument of `remote_cmd`.
pub(crate) fn remote_command(
    memory: &impl GuestMemory,
    domain: DomId,
    from: GuestPtr,
) -> Result<RemoteCmd, Errno> {
    read(memory, domain, from)
}

impl Argument {
    /// Reads the argument of `subop`, all of it, once.
    ///
    /// # Errors
    /// `-EOPNOTSUPP`: the subop is not served. `-EFAULT`: the pointer is bad.
    #[inline(never)]
    pub(crate) fn copy_in(
        &mut self,
        memory: &impl GuestMemory,
        domain: DomId,
        subop: Subop,
        from: GuestPtr,
    ) -> Result<(), Errno> {
        // In place: what is returned would be on the stack twice.
        *self = match subop {
            Subop::NOOP => Self::None,
            Subop::QUERY_CAPABILITIES => Self::Capabilities(Capabilities::default()),
            Subop::INIT => Self::Init(read(memory, domain, from)?),
            Subop::ALLOC_CONTEXT => Self::AllocContext(read(memory, domain, from)?),
            Subop::FREE_CONTEXT => Self::FreeContext(read(memory, domain, from)?),
            Subop::REATTACH_DEVICE => Self::ReattachDevice(read(memory, domain, from)?),
            Subop::MAP_PAGES => Self::MapPages(read(memory, domain, from)?),
            Subop::UNMAP_PAGES => Self::UnmapPages(read(memory, domain, from)?),
            Subop::FLUSH_PAGES => Self::FlushPages(read(memory, domain, from)?),
            Subop::BATCH => Self::Batch(Extensible::read(memory, domain, from)?),
            Subop::QUERY_RESERVED => Self::QueryReserved(Extensible::read(memory, domain, from)?),
            Subop::TAKE_OWNERSHIP => Self::TakeOwnership(Extensible::read(memory, domain, from)?),
            Subop::QUERY_DEVICE => Self::QueryDevice(Extensible::read(memory, domain, from)?),
            Subop::LOOKUP => Self::Lookup(Extensible::read(memory, domain, from)?),
            Subop::READ_FAULTS => Self::ReadFaults(Extensible::read(memory, domain, from)?),
            Subop::QUERY_LIMITS => Self::QueryLimits(Extensible::read(memory, domain, from)?),
            Subop::ALLOC_CONTEXT_EXT => {
                Self::AllocContextExt(Extensible::read(memory, domain, from)?)
            }
            _ => return Err(Errno::EOPNOTSUPP),
        };
        Ok(())
    }

    /// The domain whose contexts it is about, as its caller names it.
    pub(crate) fn target(&self) -> DomId {
        match self {
            Self::Batch(batch) => batch.value.domid,
            Self::QueryReserved(query) => query.value.domid,
            Self::TakeOwnership(take) => take.value.domid,
            Self::QueryDevice(query) => query.value.domid,
            Self::Lookup(lookup) => lookup.value.domid,
            Self::ReadFaults(read) => read.value.domid,
            Self::QueryLimits(query) => query.value.domid,
            Self::AllocContextExt(alloc) => alloc.value.domid,
            _ => DomId::SELF,
        }
    }

    /// Notes what the call has done in the argument; true if it must be copied out.
    ///
    /// `mapped` and `unmapped` add up over calls; the first page and the count move on only when
    /// the call is to be continued. Padding stays the guest's own.
    #[inline(never)]
    pub(crate) fn record(&mut self, effect: &Effect) -> bool {
        match (self, effect) {
            // Nothing has changed, so nothing is written.
            (_, Effect::Pages(Progress { pages: 0, .. })) => return false,
            (Self::Capabilities(out), Effect::Capabilities(capabilities)) => *out = *capabilities,
            (Self::AllocContext(out), Effect::Opened(context)) => out.ctx_no = *context,
            (Self::AllocContextExt(out), Effect::Opened(context)) => {
                out.value.ctx_id = u32::from(context.0);
            }
            (Self::Batch(out), Effect::Elements { done, .. }) => out.value.nr_done = *done,
            (Self::Lookup(out), Effect::Found(mapping)) => found(&mut out.value, mapping),
            (Self::QueryLimits(out), Effect::Limits(limits)) => {
                let asked = out.value;
                out.value = QueryLimits {
                    size: asked.size,
                    ctx_id: asked.ctx_id,
                    domid: asked.domid,
                    ..*limits
                };
            }
            (Self::QueryReserved(out), Effect::Reserved { count, .. }) => {
                out.value.nr_entries = *count;
            }
            (Self::QueryDevice(out), Effect::Device(device)) => {
                let asked = out.value;
                out.value = QueryDevice {
                    size: asked.size,
                    domid: asked.domid,
                    device: asked.device,
                    ..*device
                };
            }
            (Self::ReadFaults(out), Effect::Faults { told, lost }) => {
                (out.value.nr_records, out.value.lost) = (*told, *lost);
            }
            (Self::MapPages(out), Effect::Pages(progress)) => {
                // Never more than the `nr_pages` that was asked for, so it fits.
                let pages = u32::try_from(progress.pages).unwrap_or(u32::MAX);
                out.mapped = out.mapped.wrapping_add(pages);
                if progress.end == End::Yield {
                    out.gfn.0 = out.gfn.0.wrapping_add(progress.pages);
                    out.dfn.0 = out.dfn.0.wrapping_add(progress.pages);
                    out.nr_pages = out.nr_pages.saturating_sub(pages);
                }
            }
            (Self::UnmapPages(out), Effect::Pages(progress)) => {
                let pages = u32::try_from(progress.pages).unwrap_or(u32::MAX);
                out.unmapped = out.unmapped.wrapping_add(pages);
                if progress.end == End::Yield {
                    out.dfn.0 = out.dfn.0.wrapping_add(progress.pages);
                    out.nr_pages = out.nr_pages.saturating_sub(pages);
                }
            }
            _ => return false,
        }
        true
    }

    /// Writes the argument back.
    ///
    /// # Errors
    /// `-EFAULT`: the pointer is bad.
    #[inline(never)]
    pub(crate) fn copy_out(
        &self,
        memory: &impl GuestMemory,
        domain: DomId,
        to: GuestPtr,
    ) -> Result<(), Errno> {
        match self {
            Self::Capabilities(out) => write(memory, domain, to, out),
            Self::AllocContext(out) => write(memory, domain, to, out),
            Self::MapPages(out) => write(memory, domain, to, out),
            Self::UnmapPages(out) => write(memory, domain, to, out),
            Self::Lookup(out) => out.write(memory, domain, to),
            Self::QueryReserved(out) => out.write(memory, domain, to),
            Self::QueryDevice(out) => out.write(memory, domain, to),
            Self::ReadFaults(out) => out.write(memory, domain, to),
            Self::QueryLimits(out) => out.write(memory, domain, to),
            Self::AllocContextExt(out) => out.write(memory, domain, to),
            // The rest of it is input.
            Self::Batch(out) => {
                let to = offset(to, core::mem::offset_of!(Batch, nr_done))?;
                write(memory, domain, to, &out.value.nr_done)
            }
            Self::None
            | Self::Init(_)
            | Self::FreeContext(_)
            | Self::ReattachDevice(_)
            | Self::TakeOwnership(_)
            | Self::FlushPages(_) => Ok(()),
        }
    }
}

/// Tells a guest of a mapping what it may know. Machine frames are not for it.
fn found(out: &mut Lookup, mapping: &Mapping) {
    let mut result = LookupResult::empty();
    result.set(LookupResult::GFN, mapping.gfn.is_some());
    result.set(LookupResult::MMIO, mapping.mmio);
    result.set(LookupResult::FOREIGN, mapping.foreign);
    out.gfn = mapping.gfn.unwrap_or(Gfn(0));
    out.mfn = 0;
    out.access = AccessFlags::empty();
    out.access.set(AccessFlags::READ, mapping.access.contains(Access::READ));
    out.access.set(AccessFlags::WRITE, mapping.access.contains(Access::WRITE));
    out.origin = match mapping.origin {
        Origin::Initial => WireOrigin::INITIAL,
        Origin::Maintained => WireOrigin::MAINTAINED,
        Origin::Guest => WireOrigin::GUEST,
        Origin::Reserved => WireOrigin::RESERVED,
    };
    out.order = mapping.order;
    out.result = result;
}
