//! What a guest asks the service to do with an address space, whatever hypercall carries it.

use std::fmt;

use pviommu_abi::{ElementFlags, Errno, MapFlags};
use pviommu_guest::Error;
use pviommu_hypervisor::platform::Access;

use super::shadow::Extent;
use super::spans::Span;
use crate::trace::Prot;

/// One thing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// Map an extent.
    Map { extent: Extent, how: Prot },
    /// Unmap a range that has no hole; the flush may come later.
    Unmap { bus: Span, later: bool },
    /// Flush the context, of which `waiting` waits to be flushed.
    Flush { waiting: Option<Span> },
}

impl Call {
    /// Pages it is about.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Self::Map { extent, .. } => extent.pages,
            Self::Unmap { bus, .. } => bus.pages(),
            Self::Flush { .. } => 0,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, Span { first, last }) = match self {
            Self::Map { extent, .. } => ("map", extent.bus()),
            Self::Unmap { bus, later: false } => ("unmap", *bus),
            Self::Unmap { bus, later: true } => ("unmap without a flush", *bus),
            Self::Flush { .. } => return f.write_str("flush"),
        };
        write!(f, "{what} {first:#x}..={last:#x}")
    }
}

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

    /// Adds what the next part did.
    pub(super) fn and(self, next: Self) -> Self {
        Self { pages: self.pages + next.pages, error: next.error }
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

/// Flags of `map_pages`. It has none for what else the trace tells.
pub(super) fn map_flags(access: Access, how: Prot) -> MapFlags {
    let mut flags = MapFlags::empty();
    flags.set(MapFlags::READABLE, access.contains(Access::READ));
    flags.set(MapFlags::WRITEABLE, access.contains(Access::WRITE));
    flags.set(MapFlags::CACHE, how.contains(Prot::CACHE));
    flags
}

/// Flags of an element that maps. Privileged is left out: the service has no such entries, and
/// refuses. So is MMIO: the trace has it for what may be memory here.
pub(super) fn element_flags(access: Access, how: Prot) -> ElementFlags {
    let mut flags = ElementFlags::empty();
    flags.set(ElementFlags::READ, access.contains(Access::READ));
    flags.set(ElementFlags::WRITE, access.contains(Access::WRITE));
    flags.set(ElementFlags::CACHE, how.contains(Prot::CACHE));
    flags.set(ElementFlags::NOEXEC, how.contains(Prot::NOEXEC));
    flags
}
