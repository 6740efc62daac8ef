//! What a guest driver needs from other hypercalls.
//!
//! v7 has no call for reserved ranges: its driver asks `memory_op` for those of each device, and
//! adds the MSI window itself. (The `QUERY_RESERVED` subop answers both.)

use crate::{GuestPtr, PciDevice};

constants! {
    "Flags of other hypercalls (Xen public/memory.h, public/grant_table.h)." as "";
    /// In `flags` of `XenReservedDeviceMemoryMap`: the ranges of all devices, not of one.
    XENMEM_RDM_ALL: u32 = 1;
    /// Map flag of `grant_table_op`: map the grant for devices too.
    GNTMAP_DEVICE_MAP: u32 = 1;
}

wire! {
    /// One range of reserved device memory (Xen public/memory.h, xen_reserved_device_memory).
    struct XenReservedDeviceMemory as "xen_reserved_device_memory", size 16, align 8, Default {
        /// Out: the first frame.
        0 => start_pfn: u64,
        /// Out: how many frames of 4 KiB.
        8 => nr_pages: u64,
    }

    /// Argument of XENMEM_RESERVED_DEVICE_MEMORY_MAP (Xen public/memory.h,
    /// xen_reserved_device_memory_map).
    ///
    /// The call answers 0 if all ranges fit the buffer. To learn the number, call with `nr_entries`
    /// 0.
    ///
    /// # Errors
    ///
    /// `-ENOBUFS`: `nr_entries` holds the number needed. (The comment in Xen's header says
    /// `-ERANGE`; its code answers `-ENOBUFS`.) `-EINVAL`: unknown bits in `flags`.
    struct XenReservedDeviceMemoryMap as "xen_reserved_device_memory_map",
        size 24, align 8, Default
    {
        /// In: 0 or `XENMEM_RDM_ALL`.
        0 => flags: u32,
        /// In: how many entries the buffer holds. Out: how many there are.
        4 => nr_entries: u32,
        /// In: address of an array of `XenReservedDeviceMemory`.
        8 => buffer: GuestPtr,
        /// In: the device, without `XENMEM_RDM_ALL`.
        16 => dev: PciDevice,
        /// Padding.
        20 => pad0: [u8; 4],
    }
}
