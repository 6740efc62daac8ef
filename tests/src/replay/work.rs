//! What an address space has to do, as the trace says it.

use super::shadow::Extent;
use super::spans::Span;
use crate::trace::Prot;

/// One operation that waits for its hypercall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    /// The line of the trace.
    pub(super) line: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Map(Extent, Prot),
    Unmap(Span),
    Flush,
}
