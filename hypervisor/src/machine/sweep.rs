//! How far a search for frames has come, in all contexts of a domain.

use pviommu_abi::Errno;

use crate::{domain::Slot, table::Cursor};

/// The state of [`Iommu::retarget`](crate::Iommu::retarget), kept by the embedder between calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sweep {
    /// The context that is next; `None` at the start.
    pub(crate) next: Option<Slot>,
    /// Where in its table the search goes on.
    pub(crate) from: Cursor,
    /// What went wrong in a context before.
    pub(crate) error: Option<Errno>,
}
