//! The numbers a call is made by: hypercalls and subops.

constants! {
    "Hypercall numbers (Xen public/xen.h) and the memory operation a guest driver needs." as "";
    /// Number of `iommu_op`. Not assigned upstream; the value of PV-IOMMU RFC v7,
    /// `public/pv-iommu.h`.
    HYPERCALL_IOMMU_OP: u32 = 43;
    /// Number of `memory_op` (Xen `public/xen.h`).
    HYPERCALL_MEMORY_OP: u32 = 12;
    /// Number of `grant_table_op` (Xen `public/xen.h`).
    HYPERCALL_GRANT_TABLE_OP: u32 = 20;
    /// The `memory_op` command that lists the reserved ranges of a device (Xen `public/memory.h`).
    XENMEM_RESERVED_DEVICE_MEMORY_MAP: u32 = 27;
}

open_enum! {
    /// What `iommu_op` is asked to do: its first argument.
    ///
    /// 0 to 12 are PV-IOMMU RFC v7, `public/pv-iommu.h`; 13 is the deferred-flush extension of it;
    /// from 0x40 on they are this project's own, and a service may offer any of them or none (see
    /// the capability bits). An unknown subop is `-EOPNOTSUPP`; a hypervisor without the service
    /// answers `-ENOSYS`.
    struct Subop(u32) as "SUBOP_" {
        /// Does nothing and succeeds; the argument is ignored.
        NOOP = 0,
        /// Tells what the service can do.
        QUERY_CAPABILITIES = 1,
        /// Sets up the domain's contexts and table memory; once.
        INIT = 2,
        /// Allocates an empty context.
        ALLOC_CONTEXT = 3,
        /// Frees a context.
        FREE_CONTEXT = 4,
        /// Moves a device to a context.
        REATTACH_DEVICE = 5,
        /// Maps a range of pages.
        MAP_PAGES = 6,
        /// Unmaps a range of pages.
        UNMAP_PAGES = 7,
        /// Runs one of the other subops for another domain.
        REMOTE_CMD = 8,
        /// Reserved for nested contexts; `-EOPNOTSUPP`.
        ALLOC_NESTED = 9,
        /// Reserved for nested contexts; `-EOPNOTSUPP`. Its argument is empty.
        FLUSH_NESTED = 10,
        /// Reserved for PASIDs; `-EOPNOTSUPP`.
        ATTACH_PASID = 11,
        /// Reserved for PASIDs; `-EOPNOTSUPP`.
        DETACH_PASID = 12,
        /// Flushes a range that was mapped with `MAP_NO_FLUSH`.
        FLUSH_PAGES = 13,
        /// Runs an array of operations, each with its own status.
        BATCH = 0x40,
        /// Lists the ranges a guest may not map.
        QUERY_RESERVED = 0x41,
        /// Takes over, or gives back, the default context.
        TAKE_OWNERSHIP = 0x42,
        /// Tells what a BFN maps to.
        LOOKUP = 0x43,
        /// Tells how a device is isolated.
        QUERY_DEVICE = 0x44,
        /// Drains the domain's fault records.
        READ_FAULTS = 0x45,
        /// Tells aperture, page sizes and quotas.
        QUERY_LIMITS = 0x46,
        /// Allocates a context with a chosen background and aperture.
        ALLOC_CONTEXT_EXT = 0x47,
    }
}

/// The first subop of the range that upstream numbering never uses.
pub const FIRST_EXTENSION: Subop = Subop::BATCH;

impl Subop {
    /// Whether this is one of this project's own numbers, for which unknown flags and non-zero
    /// reserved fields are refused.
    #[must_use]
    pub const fn is_extension(self) -> bool {
        self.0 >= FIRST_EXTENSION.0
    }
}
