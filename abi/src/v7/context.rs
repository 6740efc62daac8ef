//! Capabilities, contexts, devices (PV-IOMMU RFC v7, `public/pv-iommu.h`).

use crate::{AllocFlags, CapabilityFlags, ContextId, DomId, FreeFlags, GuestPtr, PciDevice};

wire! {
    /// Argument of QUERY_CAPABILITIES: what the service can do for the calling domain.
    ///
    /// # Errors
    ///
    /// `-ENODEV`: the domain has no IOMMU, or may not use the service.
    struct Capabilities as "capabilities", size 24, align 8, Default {
        /// Out: the greatest byte address a device can use, and so `max_iova_addr >> 12` the
        /// greatest BFN.
        0 => max_iova_addr: u64,
        /// Out: what is supported.
        8 => cap_flags: CapabilityFlags,
        /// Out: page sizes, in bytes, one bit each. Bit 12 (4 KiB) is always set.
        12 => pgsize_mask: u32,
        /// Out: the greatest PASID; 0 without PASID support.
        16 => max_pasid: u32,
        /// Out: how many contexts beside the default one can be allocated in all; 0 before INIT.
        20 => max_ctx_no: u16,
        /// Padding; the hypervisor writes 0.
        22 => pad0: [u8; 2],
    }

    /// Argument of INIT: sets up the domain's contexts and the memory for their tables. Once per
    /// domain.
    ///
    /// # Errors
    ///
    /// `-EACCES`: done before. `-E2BIG`: more contexts than policy allows. `-ENOMEM`: no memory, or
    /// an arena greater than policy allows.
    struct Init as "init", size 8, align 4, Default {
        /// In: how many contexts beside the default one, below 0xffffffff.
        0 => max_ctx_no: u32,
        /// In: log2 of the number of 4 KiB frames set aside for tables; 0: none.
        4 => arena_order: u32,
    }

    /// Argument of ALLOC_CONTEXT: a new context with nothing mapped.
    ///
    /// # Errors
    ///
    /// `-ENOSPC`: none is free, or INIT was not called. `-EOPNOTSUPP`: a flag without its
    /// capability.
    struct AllocContext as "alloc_context", size 8, align 4, Default {
        /// Out: the context, never 0.
        0 => ctx_no: ContextId,
        /// Padding.
        2 => pad0: [u8; 2],
        /// In: properties of the context.
        4 => alloc_flags: AllocFlags,
    }

    /// Argument of FREE_CONTEXT: unmaps all of a context and gives it back.
    ///
    /// # Errors
    ///
    /// `-EINVAL`: context 0. `-ENOENT`: no such context. `-EBUSY`: devices are attached, and the
    /// flag to move them is not set.
    struct FreeContext as "free_context", size 8, align 4, Default {
        /// In: the context, not 0.
        0 => ctx_no: ContextId,
        /// Padding.
        2 => pad0: [u8; 2],
        /// In: what to do with attached devices.
        4 => free_flags: FreeFlags,
    }

    /// Argument of REATTACH_DEVICE: moves a device, and whatever shares its requester id, to a
    /// context.
    ///
    /// # Errors
    ///
    /// `-ENODEV`: not a device of the domain. `-ENOENT`: no such context. `-EINVAL`: the context is
    /// being freed. `-EADDRINUSE`: a direct range of the device is mapped to something else there.
    /// `-EPERM`: the device is not isolated well enough, and nobody opted in. `-ENOSPC`: the
    /// hardware has no tag left, or the domain has as many as it may. `-EIO`: the hardware did not answer.
    struct ReattachDevice as "reattach_device", size 12, align 4, Default {
        /// In: the context to move to; 0 is the default context.
        0 => ctx_no: ContextId,
        /// In: the device, as the guest numbers it.
        2 => dev: PciDevice,
        /// Padding.
        6 => pad0: [u8; 2],
        /// In: ignored without the PASID capability.
        8 => pasid: u32,
    }

    /// Argument of REMOTE_CMD: runs another subop, of numbers 0 to 13, for another domain.
    ///
    /// # Errors
    ///
    /// `-EPERM`: the caller may not. `-ENOENT`: no such domain. `-EINVAL`: the inner subop is
    /// REMOTE_CMD. Otherwise what the inner subop answers.
    struct RemoteCmd as "remote_cmd", size 16, align 8, Default {
        /// In: the domain to act for.
        0 => domid: DomId,
        /// In: the inner subop.
        2 => subop: u16,
        /// Padding.
        4 => pad0: [u8; 4],
        /// In: address of the inner argument, in the caller's memory.
        8 => arg: GuestPtr,
    }
}
