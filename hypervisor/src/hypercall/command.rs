//! What a call asks for, and what came of it.

use pviommu_abi::{
    Bfn, Capabilities, ContextId, DomId, Errno, GuestPtr, PciDevice, QueryDevice, QueryLimits,
};

use crate::{
    addr::BfnRange,
    context::{End, Mapping, Progress, Wish},
    domain::Background,
    policy::{MapRequest, UnmapRequest},
};

/// A decoded call. Ranges do not wrap and are not empty; what is left to check depends on facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Noop,
    QueryCapabilities,
    Init {
        contexts: u32,
        arena_order: u32,
    },
    AllocContext {
        background: Option<Background>,
        aperture: Option<BfnRange>,
    },
    FreeContext {
        context: ContextId,
        devices: OnFree,
    },
    Reattach {
        context: ContextId,
        device: PciDevice,
    },
    Map(MapRequest),
    Unmap(UnmapRequest),
    /// `None`: no pages at all, which is fine.
    Flush {
        context: ContextId,
        bfns: Option<BfnRange>,
    },
    Lookup {
        context: ContextId,
        bfn: Bfn,
    },
    QueryLimits {
        context: ContextId,
    },
    QueryReserved(ReservedRequest),
    QueryDevice(PciDevice),
    ReadFaults(FaultsRequest),
    /// The default context changes hands.
    Switch(Wish),
    Batch(BatchRequest),
}

impl Command {
    /// The device it is about, as the guest names it.
    pub(crate) fn device(&self) -> Option<PciDevice> {
        match self {
            Self::Reattach { device, .. } | Self::QueryDevice(device) => Some(*device),
            Self::QueryReserved(ReservedRequest { of: ReservedOf::Device(device), .. }) => {
                Some(*device)
            }
            _ => None,
        }
    }

    /// True if it may have a unit invalidate something.
    pub(crate) fn may_flush(&self) -> bool {
        match self {
            Self::Noop
            | Self::QueryCapabilities
            | Self::Init { .. }
            | Self::AllocContext { .. }
            | Self::Lookup { .. }
            | Self::QueryLimits { .. }
            | Self::QueryReserved(_)
            | Self::QueryDevice(_)
            | Self::ReadFaults(_) => false,
            Self::FreeContext { .. }
            | Self::Reattach { .. }
            | Self::Map(_)
            | Self::Unmap(_)
            | Self::Flush { .. }
            | Self::Switch(_)
            | Self::Batch(_) => true,
        }
    }

    /// Whose pages or grants are to be mapped, where that is chosen.
    pub(crate) fn owner(&self) -> Option<DomId> {
        match self {
            Self::Batch(batch) => Some(batch.owner),
            _ => None,
        }
    }
}

/// Which reserved ranges are asked for, and where they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReservedRequest {
    pub(crate) of: ReservedOf,
    /// An array in the caller's memory.
    pub(crate) entries: GuestPtr,
    /// How many it holds.
    pub(crate) room: u32,
}

/// Where fault records go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FaultsRequest {
    /// An array in the caller's memory.
    pub(crate) records: GuestPtr,
    /// How many it holds.
    pub(crate) room: u32,
}

/// Whose reserved ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReservedOf {
    Context(ContextId),
    /// As the guest names it.
    Device(PciDevice),
}

/// An array of operations on one context. They are read when their turn comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchRequest {
    pub(crate) context: ContextId,
    /// Whose pages are mapped, or who granted them.
    pub(crate) owner: DomId,
    /// Go on after an element that failed.
    pub(crate) run_all: bool,
    /// Where the array is, in the caller's memory.
    pub(crate) elements: GuestPtr,
    pub(crate) count: u32,
    /// Elements that are finished already; at most `count`.
    pub(crate) done: u32,
}

/// What to do with the devices of a context that is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnFree {
    /// Refuse if there are any.
    Refuse,
    /// Move them to the default context first.
    MoveToDefault,
}

/// What a call has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Nothing to tell but the end.
    Ended(End),
    /// Pages were mapped or unmapped.
    Pages(Progress),
    /// A context was opened.
    Opened(ContextId),
    /// The capabilities were asked for.
    Capabilities(Capabilities),
    /// A bus frame was looked up.
    Found(Mapping),
    /// The limits were asked for.
    Limits(QueryLimits),
    /// There are this many reserved ranges.
    Reserved { count: u32, end: End },
    /// What is known of a device.
    Device(QueryDevice),
    /// This many fault records were told, and this many before them were lost.
    Faults { told: u32, lost: u64 },
    /// This many elements of a batch are finished.
    Elements { done: u32, end: End },
}

impl Effect {
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Ended(end) | Self::Elements { end, .. } | Self::Reserved { end, .. } => *end,
            Self::Pages(progress) => progress.end,
            Self::Opened(_)
            | Self::Capabilities(_)
            | Self::Found(_)
            | Self::Limits(_)
            | Self::Device(_)
            | Self::Faults { .. } => End::Finished,
        }
    }

    /// What went wrong, if anything did.
    pub(crate) fn error(&self) -> Option<Errno> {
        match self.end() {
            End::Failed(errno) => Some(errno),
            End::Finished | End::Yield => None,
        }
    }
}

impl From<Result<(), Errno>> for Effect {
    fn from(result: Result<(), Errno>) -> Self {
        Self::Ended(result.map_or_else(End::Failed, |()| End::Finished))
    }
}
