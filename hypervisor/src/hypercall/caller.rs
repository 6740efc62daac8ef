//! What the embedder says of a hypercall, and what it is told to do.

/// Who made the hypercall, besides the domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Which of [`Machine::cpus`](crate::Machine) serves the call.
    pub cpu: usize,
    /// The width the caller runs at.
    pub width: Width,
}

/// The width of a caller's registers and pointers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 32 bits: refused, because the structures are laid out otherwise.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// What the embedder does with the calling vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// Put this into the result register: 0 or a negative errno.
    Done(i64),
    /// Have the instruction executed again with the same registers, after whatever is due.
    Continue,
}
