//! Arguments between guest memory and here: in once, out what changed.

use pviommu_abi::{
    AllocContext, Capabilities, DomId, Errno, FreeContext, GuestPtr, Init, MapPages,
    ReattachDevice, RemoteCmd, Subop, UnmapPages,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::command::Effect;
use crate::{
    context::{End, Progress},
    platform::GuestMemory,
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
    pub(crate) fn copy_in(
        memory: &impl GuestMemory,
        domain: DomId,
        subop: Subop,
        from: GuestPtr,
    ) -> Result<Self, Errno> {
        Ok(match subop {
            Subop::NOOP => Self::None,
            Subop::QUERY_CAPABILITIES => Self::Capabilities(Capabilities::default()),
            Subop::INIT => Self::Init(read(memory, domain, from)?),
            Subop::ALLOC_CONTEXT => Self::AllocContext(read(memory, domain, from)?),
            Subop::FREE_CONTEXT => Self::FreeContext(read(memory, domain, from)?),
            Subop::REATTACH_DEVICE => Self::ReattachDevice(read(memory, domain, from)?),
            Subop::MAP_PAGES => Self::MapPages(read(memory, domain, from)?),
            Subop::UNMAP_PAGES => Self::UnmapPages(read(memory, domain, from)?),
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }

    /// Notes what the call has done in the argument; true if it must be copied out.
    ///
    /// `mapped` and `unmapped` add up over calls; the first page and the count move on only when
    /// the call is to be continued. Padding stays the guest's own.
    pub(crate) fn record(&mut self, effect: &Effect) -> bool {
        match (self, effect) {
            // Nothing has changed, so nothing is written.
            (_, Effect::Pages(Progress { pages: 0, .. })) => return false,
            (Self::Capabilities(out), Effect::Capabilities(capabilities)) => *out = *capabilities,
            (Self::AllocContext(out), Effect::Opened(context)) => out.ctx_no = *context,
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
            Self::None | Self::Init(_) | Self::FreeContext(_) | Self::ReattachDevice(_) => Ok(()),
        }
    }
}
