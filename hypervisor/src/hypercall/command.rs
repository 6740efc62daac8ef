//! What a call asks for, and what came of it.

use pviommu_abi::{Capabilities, ContextId, Errno, PciDevice};

use crate::{
    context::{End, Progress},
    policy::{MapRequest, UnmapRequest},
};

/// A decoded call. Ranges do not wrap and are not empty; what is left to check depends on facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Noop,
    QueryCapabilities,
    Init { contexts: u32, arena_order: u32 },
    AllocContext,
    FreeContext { context: ContextId, devices: OnFree },
    Reattach { context: ContextId, device: PciDevice },
    Map(MapRequest),
    Unmap(UnmapRequest),
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
}

impl Effect {
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Ended(end) => *end,
            Self::Pages(progress) => progress.end,
            Self::Opened(_) | Self::Capabilities(_) => End::Finished,
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
