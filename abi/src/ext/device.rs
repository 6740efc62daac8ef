//! Devices: how they are named, which BFNs are reserved for them (subop 0x41), how they are
//! isolated (subop 0x44).

use zerocopy::FromZeros;

use crate::{AccessFlags, Bfn, DomId, GuestPtr, PciDevice};

open_enum! {
    /// What the `id` of a device handle is.
    struct DeviceKind(u32) as "DEVICE_KIND_", Default {
        /// No device, or one the caller may not see.
        NONE = 0,
        /// A PCI function: segment in bits 31 to 16, bus in 15 to 8, devfn in 7 to 0.
        PCI = 1,
        /// A device without PCI: a number the embedder gives it.
        PLATFORM = 2,
    }

    /// Why a range is reserved.
    struct ReservedKind(u32) as "RESERVED_KIND_", Default {
        /// Mapped one to one in every context the device is attached to, because its firmware needs
        /// it.
        DIRECT = 1,
        /// As DIRECT, but a driver that takes the device over no longer needs it: told, not
        /// enforced.
        DIRECT_RELAXABLE = 2,
        /// May not be used, for a reason that is not told.
        RESERVED = 3,
        /// Writes there are interrupts, and are not translated.
        MSI = 4,
        /// A window in which software maps the doorbell of interrupts, and nothing else is mapped.
        SW_MSI = 5,
        /// Forwarded by a bridge below the IOMMU: DMA there reaches another device and not memory.
        BRIDGE_WINDOW = 6,
    }
}

flags! {
    /// `flags` of QUERY_RESERVED.
    struct QueryReservedFlags(u32) as "QUERY_RESERVED_" {
        /// Tell the ranges of `device`. Clear: those of context `ctx_id`, and `device` is zero.
        DEVICE = 1 << 0,
    }

    /// `flags` of QUERY_DEVICE. No bit is defined.
    struct QueryDeviceFlags(u32) as "QUERY_DEVICE_" {}

    /// What is known of a device.
    struct DeviceFlags(u32) as "DEVICE_" {
        /// The service translates its DMA. Clear, as for emulated devices: it uses guest addresses.
        BEHIND_IOMMU = 1 << 0,
        /// Its group has members the caller may not see.
        HIDDEN_MEMBERS = 1 << 1,
        /// It and all others of its group can raise no interrupts but those they were given.
        INTERRUPTS_ISOLATED = 1 << 2,
        /// Other devices can send requests in its name, or reach it untranslated: those of its
        /// group. Without `DEVICE_HIDDEN_MEMBERS` all of them are of the same domain.
        SHARING_RISK = 1 << 3,
        /// Its DMA is coherent with the caches of the processors.
        COHERENT = 1 << 4,
        /// It was stopped, because it faulted without end or because its group has changed: it does
        /// no DMA until whoever drives the machine starts it again.
        STOPPED = 1 << 5,
    }
}

wire! {
    /// A device as the guest names it; the hypervisor knows which one of the machine that is.
    struct DeviceHandle as "device_handle", size 16, align 8, Default {
        /// What `id` is.
        0 => kind: DeviceKind,
        /// Must be 0; kept for a PASID.
        4 => pasid: u32,
        /// The device.
        8 => id: u64,
    }

    /// One reserved range.
    struct ReservedRange as "reserved_range", size 32, align 8, Default {
        /// Out: the first BFN.
        0 => first: Bfn,
        /// Out: the last BFN, not below `first`.
        8 => last: Bfn,
        /// Out: why.
        16 => kind: ReservedKind,
        /// Out: what devices may do there.
        20 => access: AccessFlags,
        /// Out: 0.
        24 => reserved: u64,
    }

    /// Argument of QUERY_RESERVED: the BFNs a guest may not map, and those it is told about.
    ///
    /// Of a context: those of the machine, and of each device attached to it. Of a device: those of
    /// a context that it alone is attached to. They come in ascending order of `first`, and of
    /// `last` where that is the same; those of different kinds or devices may overlap.
    ///
    /// To learn the number, call with `nr_entries` 0: unless there are none, the answer is
    /// `-ENOBUFS`. It can change when a device is attached.
    ///
    /// # Errors
    ///
    /// `-ENOBUFS`: `nr_entries` holds the number needed, and the buffer as many as fit, the first
    /// ones. `-ENOENT`: no such context. `-ENODEV`: no such device. `-EINVAL`: a bad `elem_size`;
    /// or one of `ctx_id` and `device` is not asked for, and not 0.
    struct QueryReserved as "query_reserved", size 48, align 8 {
        /// In: the caller's size of this structure, 48.
        0 => size: u32,
        /// In: of what.
        4 => flags: QueryReservedFlags,
        /// In: the context, without `QUERY_RESERVED_DEVICE`; else 0.
        8 => ctx_id: u32,
        /// In: the domain acted for.
        12 => domid: DomId,
        /// Must be 0.
        14 => reserved: u16,
        /// In: the device, with `QUERY_RESERVED_DEVICE`; else all 0.
        16 => device: DeviceHandle,
        /// In: how many entries the buffer holds. Out: how many there are, also if more than fit.
        32 => nr_entries: u32,
        /// In: the size of an entry, 32.
        36 => elem_size: u32,
        /// In: address of an array of `ReservedRange`; not used if `nr_entries` is 0.
        40 => entries: GuestPtr,
    }

    /// Argument of QUERY_DEVICE: how a device is isolated.
    ///
    /// # Errors
    ///
    /// `-ENODEV`: no such device, or none of the domain's. `-EINVAL`: a `pasid` in the handle.
    struct QueryDevice as "query_device", size 64, align 8 {
        /// In: the caller's size of this structure, 64.
        0 => size: u32,
        /// In: no bit is defined.
        4 => flags: QueryDeviceFlags,
        /// In: the domain acted for.
        8 => domid: DomId,
        /// Must be 0.
        10 => reserved0: u16,
        /// Must be 0.
        12 => reserved1: u32,
        /// In: the device.
        16 => device: DeviceHandle,
        /// Out: its group, the smallest set the IOMMU can isolate, which is given to a domain
        /// whole. Only good for comparing, and only with `DEVICE_BEHIND_IOMMU`; else 0, as are the next one and `ctx_id`.
        32 => group: u64,
        /// Out: the devices with the same number move between contexts together: they can share a
        /// requester id, or the hypervisor wants all of a group in one context. Only good for
        /// comparing.
        40 => moves_with: u64,
        /// Out: what is known of it.
        48 => state: DeviceFlags,
        /// Out: the context it is attached to.
        52 => ctx_id: u32,
        /// Must be 0.
        56 => reserved2: u64,
    }
}

impl DeviceHandle {
    /// The handle of a PCI function.
    #[must_use]
    pub fn pci(device: PciDevice) -> Self {
        Self { kind: DeviceKind::PCI, pasid: 0, id: u64::from(device.sbdf()) }
    }

    /// The PCI function this names; `None` for another kind, or an `id` with bits that no PCI
    /// function has.
    #[must_use]
    pub fn as_pci(&self) -> Option<PciDevice> {
        match self.kind {
            DeviceKind::PCI => u32::try_from(self.id).ok().map(PciDevice::from_sbdf),
            _ => None,
        }
    }
}

impl QueryReserved {
    /// The value of `size`.
    pub const SIZE: u32 = 48;
    /// The value of `elem_size`.
    pub const ELEM_SIZE: u32 = 32;
}

impl QueryDevice {
    /// The value of `size`.
    pub const SIZE: u32 = 64;
}

const _: () = assert!(size_of::<QueryReserved>() == QueryReserved::SIZE as usize);
const _: () = assert!(size_of::<ReservedRange>() == QueryReserved::ELEM_SIZE as usize);
const _: () = assert!(size_of::<QueryDevice>() == QueryDevice::SIZE as usize);

impl Default for QueryReserved {
    fn default() -> Self {
        Self {
            size: Self::SIZE,
            domid: DomId::SELF,
            elem_size: Self::ELEM_SIZE,
            ..Self::new_zeroed()
        }
    }
}

impl Default for QueryDevice {
    fn default() -> Self {
        Self { size: Self::SIZE, domid: DomId::SELF, ..Self::new_zeroed() }
    }
}
