//! What the embedder says of a hypercall.

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
