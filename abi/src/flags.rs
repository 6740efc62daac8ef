//! Flag words of the v7 subops.
//!
//! The reference ignores unknown bits in all of them, so a driver that sets one still works; an
//! embedder of the service can switch to refusing them. The types keep every bit so that both can
//! be told apart.

flags! {
    /// What a service can do: `cap_flags` of `QUERY_CAPABILITIES`. Bits 0 to 4 are PV-IOMMU RFC v7,
    /// `public/pv-iommu.h`; bit 5 is its deferred-flush extension; bits from 16 on announce the
    /// subops from 0x40 on, one each, in order.
    struct CapabilityFlags(u32) as "CAP_" {
        /// The default context maps the domain's memory; clear: it blocks all DMA.
        DEFAULT_IDENTITY = 1 << 0,
        /// `MAP_CACHE` has an effect.
        CACHE = 1 << 1,
        /// `ALLOC_NESTED` and `FLUSH_NESTED` are supported.
        NESTED = 1 << 2,
        /// `ATTACH_PASID`, `DETACH_PASID` and `pasid` of `REATTACH_DEVICE` are supported.
        PASID = 1 << 3,
        /// `ALLOC_IDENTITY` is supported.
        IDENTITY = 1 << 4,
        /// `MAP_NO_FLUSH` and `FLUSH_PAGES` are supported.
        DEFERRED_FLUSH = 1 << 5,
        /// Subop `BATCH` is supported.
        BATCH = 1 << 16,
        /// Subop `QUERY_RESERVED` is supported.
        QUERY_RESERVED = 1 << 17,
        /// Subop `TAKE_OWNERSHIP` is supported.
        TAKE_OWNERSHIP = 1 << 18,
        /// Subop `LOOKUP` is supported.
        LOOKUP = 1 << 19,
        /// Subop `QUERY_DEVICE` is supported.
        QUERY_DEVICE = 1 << 20,
        /// Subop `READ_FAULTS` is supported.
        READ_FAULTS = 1 << 21,
        /// Subop `QUERY_LIMITS` is supported.
        QUERY_LIMITS = 1 << 22,
        /// Subop `ALLOC_CONTEXT_EXT` is supported.
        ALLOC_CONTEXT_EXT = 1 << 23,
    }

    /// `alloc_flags` of `ALLOC_CONTEXT` (PV-IOMMU RFC v7, `public/pv-iommu.h`).
    struct AllocFlags(u32) as "ALLOC_" {
        /// The new context maps the domain's memory one to one. Needs the `IDENTITY` capability.
        IDENTITY = 1 << 0,
    }

    /// `free_flags` of `FREE_CONTEXT` (PV-IOMMU RFC v7, `public/pv-iommu.h`).
    struct FreeFlags(u32) as "FREE_" {
        /// Move the devices of the context to the default context first, instead of failing with
        /// `-EBUSY`.
        REATTACH_DEFAULT = 1 << 0,
    }

    /// `map_flags` of `MAP_PAGES` (PV-IOMMU RFC v7, `public/pv-iommu.h`; bit 3 its deferred-flush
    /// extension). At least one of `READABLE` and `WRITEABLE` is needed.
    struct MapFlags(u32) as "MAP_" {
        /// Devices may read the pages.
        READABLE = 1 << 0,
        /// Devices may write the pages.
        WRITEABLE = 1 << 1,
        /// DMA must be coherent with the caches of the processors.
        CACHE = 1 << 2,
        /// Do not flush in this call: `FLUSH_PAGES` follows before a device uses the range.
        /// Ignored, and flushed, without the `DEFERRED_FLUSH` capability.
        NO_FLUSH = 1 << 3,
    }
}

impl CapabilityFlags {
    /// The bit that announces an extension subop, or `None` for any other.
    #[must_use]
    pub const fn for_extension(subop: crate::Subop) -> Option<Self> {
        use crate::Subop;
        match subop {
            Subop::BATCH => Some(Self::BATCH),
            Subop::QUERY_RESERVED => Some(Self::QUERY_RESERVED),
            Subop::TAKE_OWNERSHIP => Some(Self::TAKE_OWNERSHIP),
            Subop::LOOKUP => Some(Self::LOOKUP),
            Subop::QUERY_DEVICE => Some(Self::QUERY_DEVICE),
            Subop::READ_FAULTS => Some(Self::READ_FAULTS),
            Subop::QUERY_LIMITS => Some(Self::QUERY_LIMITS),
            Subop::ALLOC_CONTEXT_EXT => Some(Self::ALLOC_CONTEXT_EXT),
            _ => None,
        }
    }
}
