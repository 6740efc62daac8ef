//! What a long call tells the embedder to do.

use pviommu_abi::Errno;

use crate::context::End;

/// What the embedder does with the calling vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// Put this into the result register: 0 or a negative errno.
    Done(i64),
    /// Have the instruction executed again with the same registers, after whatever is due.
    Continue,
}

impl Outcome {
    pub(crate) fn failed(errno: Errno) -> Self {
        Self::Done(errno.to_ret())
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Finished => Self::Done(0),
            End::Yield => Self::Continue,
            End::Failed(errno) => Self::failed(errno),
        }
    }
}
