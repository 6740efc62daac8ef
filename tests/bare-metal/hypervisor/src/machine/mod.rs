//! The machine: ports, memory, functions on the bus, what firmware says of it.
//!
//! Nothing here knows of units or domains. A hypervisor has all of this already.
#![expect(unsafe_code, reason = "registers are reached by their address")]

pub mod acpi;
pub mod clock;
pub mod edu;
pub mod frames;
pub mod memory;
pub mod pci;
pub mod port;
pub mod processors;
pub mod serial;
pub mod start_info;

use core::ptr::NonNull;

use pviommu_hypervisor::platform::Mmio;
use start_info::Stretch;

unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
}

/// Where this image lies.
#[must_use]
pub fn image() -> Stretch {
    let (start, end) = ((&raw const image_start).addr(), (&raw const image_end).addr());
    Stretch { start: start as u64, end: end as u64, free: false }
}

/// The registers at `address`; `None` if that is not mapped uncached, as all is between memory and
/// 4 GiB.
#[must_use]
pub fn mmio(address: u64, length: usize) -> Option<Mmio> {
    let start = usize::try_from(address).ok().filter(|start| start.is_multiple_of(8))?;
    let end = start.checked_add(length)?;
    if start < memory::MAPPED || end > 1 << 32 {
        return None;
    }
    let base = NonNull::new(start as *mut u8)?;
    // SAFETY: 1. mapped uncached on all processors (`boot/entry.rs`). 2. Aligned, and each caller is the
    // driver of what it names.
    Some(unsafe { Mmio::new(base, length) })
}
