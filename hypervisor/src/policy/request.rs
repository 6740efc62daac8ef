//! What a guest asks of its maps, decoded and not yet checked against any fact.

use pviommu_abi::{ContextId, DomId};

use crate::{
    addr::{BfnRange, GfnRange},
    platform::Access,
};

/// A request to map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapRequest {
    pub(crate) context: ContextId,
    /// `None`: no pages at all, which is fine.
    pub(crate) pages: Option<Pages>,
}

/// Equally many bus frames and guest frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pages {
    pub(crate) bfns: BfnRange,
    /// Whose guest frames.
    pub(crate) owner: DomId,
    pub(crate) gfns: GfnRange,
    pub(crate) how: MapHow,
}

/// How pages are mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapHow {
    /// Not empty: an entry without access does not exist (D7b).
    pub(crate) access: Access,
    /// Only registers of devices are meant.
    pub(crate) mmio_only: bool,
    /// Where nothing can be cached but that nothing is there, a later call makes it visible.
    pub(crate) sync_later: bool,
}

/// A request to unmap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnmapRequest {
    pub(crate) context: ContextId,
    /// `None`: no pages at all, which is fine.
    pub(crate) bfns: Option<BfnRange>,
    pub(crate) how: UnmapHow,
}

/// How pages are unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct UnmapHow {
    /// The flush may come later; until then the pages are held.
    pub(crate) later: bool,
    /// A page that is not mapped is no error.
    pub(crate) skip_holes: bool,
    /// A large leaf whose split is not paid for goes as a whole.
    pub(crate) whole_leaves: bool,
}
