//! Subop 0x46: what a context can hold and what a domain may use.

use zerocopy::FromZeros;

use crate::{Background, Bfn, DomId};

flags! {
    /// `flags` of QUERY_LIMITS. No bit is defined.
    struct QueryLimitsFlags(u32) as "QUERY_LIMITS_" {}

    /// State of a domain and a context.
    struct LimitFlags(u32) as "LIMIT_" {
        /// The hypervisor maintains the domain's default context, so the guest can neither edit it
        /// nor take it over, ever.
        NEED_IOMMU = 1 << 0,
        /// A map flushes before it returns, because the hardware caches what is not mapped or
        /// because there is a scratch page: batches are worth while.
        MAP_FLUSHES = 1 << 1,
        /// The guest owns the default context, and edits it: after TAKE_OWNERSHIP, until it gives
        /// it back.
        OWNED = 1 << 2,
    }
}

wire! {
    /// Argument of QUERY_LIMITS. Quotas are of the domain; the other results are of context
    /// `ctx_id`.
    ///
    /// # Errors
    ///
    /// `-ENOENT`: no such context.
    struct QueryLimits as "query_limits", size 128, align 8 {
        /// In: the caller's size of this structure, 128.
        0 => size: u32,
        /// In: no bit is defined.
        4 => flags: QueryLimitsFlags,
        /// In: the context.
        8 => ctx_id: u32,
        /// In: the domain acted for.
        12 => domid: DomId,
        /// Must be 0.
        14 => reserved0: u16,
        /// Out: the first BFN that can be mapped.
        16 => aperture_first: Bfn,
        /// Out: the last BFN that can be mapped.
        24 => aperture_last: Bfn,
        /// Out: the sizes of pages the hardware can use, in bytes, one bit each.
        32 => page_sizes: u64,
        /// Out: the state.
        40 => state: LimitFlags,
        /// Out: what unmapped BFNs do.
        44 => background: Background,
        /// Out: contexts in use beside the default one.
        48 => contexts_used: u32,
        /// Out: contexts allowed beside the default one.
        52 => contexts_allowed: u32,
        /// Out: 4 KiB frames in use for tables.
        56 => table_frames_used: u64,
        /// Out: 4 KiB frames allowed for tables.
        64 => table_frames_allowed: u64,
        /// Out: pages held by mappings, each as often as it is mapped; while other calls go on it may be a
        /// little more than that.
        72 => pinned_pages_used: u64,
        /// Out: pages that may be held so; all ones: there is no bound. One more is `-ENOSPC`.
        80 => pinned_pages_allowed: u64,
        /// Out: pages unmapped with NO_FLUSH that wait for a flush, or to be given back after it.
        88 => deferred_pages_used: u64,
        /// Out: pages that may wait so; the next one flushes. 0: unmapping always flushes.
        96 => deferred_pages_allowed: u64,
        /// Out: mappings of grants and of other domains' pages, in all contexts; also of guest
        /// frames that are one themselves.
        104 => foreign_used: u32,
        /// Out: such mappings allowed. One more is `-ENOSPC`.
        108 => foreign_allowed: u32,
        /// Out: the most elements of a batch.
        112 => max_batch_ops: u32,
        /// Out: the most pages of one element of a batch.
        116 => max_element_pages: u32,
        /// Out: contexts beside the default one that have devices behind the same unit, of the unit
        /// where it is most of them.
        120 => tags_used: u32,
        /// Out: how many may. Moving a device to one more is `-ENOSPC`.
        124 => tags_allowed: u32,
    }
}

impl QueryLimits {
    /// The value of `size`.
    pub const SIZE: u32 = 128;
}

const _: () = assert!(size_of::<QueryLimits>() == QueryLimits::SIZE as usize);

impl Default for QueryLimits {
    fn default() -> Self {
        Self { size: Self::SIZE, domid: DomId::SELF, ..Self::new_zeroed() }
    }
}
