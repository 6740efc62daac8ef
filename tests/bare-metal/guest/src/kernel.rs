//! This guest, as the DMA API needs it.

use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_abi::Subop;
use pviommu_guest::{Hypercall, Vmmcall, dma::Kernel};

use crate::{clock, entry, xen::transport};

/// Calls of the service that were made through any [`Metal`].
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The kernel of this guest.
#[derive(Debug)]
pub struct Metal(Vmmcall);

impl Metal {
    /// A way to the service that counts.
    pub const fn new() -> Self {
        Self(transport())
    }
}

/// How many calls of the service were made so far, by the DMA API alone.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

impl Hypercall for Metal {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        self.0.iommu_op(subop, arg, buffer)
    }
}

impl Kernel for Metal {
    fn cpu(&self) -> usize {
        entry::processor()
    }

    fn now_us(&self) -> u64 {
        clock::now() / (clock::SECOND / 1_000_000)
    }
}
