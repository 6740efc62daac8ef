//! Map, unmap, flush (PV-IOMMU RFC v7, `public/pv-iommu.h`).

use crate::{Bfn, ContextId, Gfn, MapFlags};

wire! {
    /// Argument of MAP_PAGES: maps consecutive guest frames at consecutive BFNs.
    ///
    /// Stops at the first error; what was mapped before stays. `mapped` is *added to*, so that a
    /// caller can issue many calls with one structure and read the sum.
    ///
    /// # Errors
    ///
    /// `-EINVAL`: context 0 or unknown, no permission bit, bad `pgsize`, or the range wraps or
    /// leaves the aperture. `-EADDRNOTAVAIL`: a BFN is reserved. `-EADDRINUSE`: a BFN is mapped.
    /// `-ENOENT`: no page behind a GFN. `-EPERM`: not the caller's page, or its type forbids the
    /// access. `-ENOMEM`: no memory for tables. `-ENOSPC`: as many pages are held as the domain
    /// may hold. `-EBUSY`: the page is mapped too often. `-EIO`: the hardware did not answer.
    struct MapPages as "map_pages", size 40, align 8, Default {
        /// In: the context, not 0.
        0 => ctx_no: ContextId,
        /// Padding.
        2 => pad0: [u8; 6],
        /// In, updated: the first guest frame.
        8 => gfn: Gfn,
        /// In, updated: the first bus frame.
        16 => dfn: Bfn,
        /// In: what devices may do; at least one of readable and writeable.
        24 => map_flags: MapFlags,
        /// In: bytes that one of `nr_pages` covers, a single bit of `pgsize_mask`; 0 is taken for
        /// 4096.
        28 => pgsize: u32,
        /// In, updated: how many pages of `pgsize`; 0 maps nothing and succeeds.
        32 => nr_pages: u32,
        /// In and out: the number of pages of `pgsize` mapped is added to it.
        36 => mapped: u32,
    }

    /// Argument of UNMAP_PAGES: takes mappings away, and returns when no device can use them.
    ///
    /// Stops at the first error; what was unmapped before stays so. `unmapped` is *added to*.
    ///
    /// # Errors
    ///
    /// `-EINVAL`: context 0 or unknown, bad `pgsize`, or the range wraps or leaves the aperture.
    /// `-EADDRNOTAVAIL`: a BFN is reserved. `-ENOENT`: a BFN has no mapping. `-EIO`: the hardware
    /// did not answer.
    struct UnmapPages as "unmap_pages", size 32, align 8, Default {
        /// In: the context, not 0.
        0 => ctx_no: ContextId,
        /// Padding.
        2 => pad0: [u8; 6],
        /// In, updated: the first bus frame.
        8 => dfn: Bfn,
        /// In: bytes that one of `nr_pages` covers, a single bit of `pgsize_mask`; 0 is taken for
        /// 4096.
        16 => pgsize: u32,
        /// In, updated: how many pages of `pgsize`; 0 does nothing and succeeds.
        20 => nr_pages: u32,
        /// In and out: the number of pages of `pgsize` unmapped is added to it.
        24 => unmapped: u32,
        /// Padding.
        28 => pad1: [u8; 4],
    }

    /// Argument of FLUSH_PAGES: makes mappings made with MAP_NO_FLUSH visible to devices, and flushes
    /// what was unmapped there to be flushed later (`ELEM_NO_FLUSH`). Needs the DEFERRED_FLUSH
    /// capability.
    ///
    /// # Errors
    ///
    /// `-EOPNOTSUPP`: without the capability. `-EINVAL`: as for UNMAP_PAGES. `-EIO`: the hardware
    /// did not answer.
    struct FlushPages as "flush_pages", size 24, align 8, Default {
        /// In: the context, not 0.
        0 => ctx_no: ContextId,
        /// Padding.
        2 => pad0: [u8; 6],
        /// In: the first bus frame.
        8 => dfn: Bfn,
        /// In: bytes that one of `nr_pages` covers, a single bit of `pgsize_mask`; 0 is taken for
        /// 4096.
        16 => pgsize: u32,
        /// In: how many pages of `pgsize`.
        20 => nr_pages: u32,
    }
}
