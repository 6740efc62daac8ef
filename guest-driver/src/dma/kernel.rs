//! What the DMA API needs of the kernel it is part of.

use crate::hypercall::Hypercall;

/// A kernel: its way to the hypervisor, its clock, and which CPU runs.
///
/// Locks of this crate spin, and are held for a few instructions or for one hypercall. A kernel that
/// maps or unmaps in interrupt handlers disables interrupts around every call, or a handler may wait
/// for what it has interrupted.
pub trait Kernel: Hypercall {
    /// The number of the CPU that runs now. A wrong one costs time and nothing else.
    fn cpu(&self) -> usize {
        0
    }

    /// Microseconds since any fixed moment; never runs backwards.
    fn now_us(&self) -> u64;
}
