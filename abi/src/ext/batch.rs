//! Subop 0x40: an array of operations, each with its own status.
//!
//! The call as a whole can fail before any element is looked at; then `nr_done` is unchanged.
//! Otherwise `nr_done` tells how many elements are finished, and only their statuses mean anything.
//! A preempted call goes on from `nr_done` and from `done` of the element with that number,
//! validated again.

use zerocopy::FromZeros;

use crate::{Bfn, DomId, GuestPtr};

open_enum! {
    /// What an element of a batch does. Pages are of 4 KiB.
    struct BatchOp(u16) as "BATCH_OP_", Default {
        /// Maps `nr` guest frames from `page` on at `nr` BFNs from `bfn` on.
        MAP = 1,
        /// Unmaps `nr` BFNs from `bfn` on.
        UNMAP = 2,
        /// Maps the `nr` guest frames listed at address `page`, an array of u64, at `nr` BFNs from
        /// `bfn` on.
        MAP_LIST = 3,
        /// Maps the page that domain `owner` granted with reference `page` at `bfn`. `nr` is 1. The
        /// grant is in use until the flush after its unmap; the hypervisor may take the mapping out
        /// before, if the granter is gone.
        MAP_GRANT = 4,
        /// Flushes `nr` BFNs from `bfn` on; `nr` 0: the whole context, and `bfn` is 0. When it is
        /// finished, no device reaches what was unmapped there, and its pages are given back.
        FLUSH = 5,
        /// Tells what `bfn` maps to: writes `page` and the access bits of `flags`. `nr` is 1.
        LOOKUP = 6,
    }
}

flags! {
    /// `flags` of a batch.
    struct BatchFlags(u32) as "BATCH_" {
        /// Run all elements, whatever the status of those before. Clear: stop after the first that
        /// fails.
        RUN_ALL = 1 << 0,
    }

    /// `flags` of an element.
    struct ElementFlags(u16) as "ELEM_" {
        /// Map: devices may read. Lookup, out: they may.
        READ = 1 << 0,
        /// Map: devices may write. Lookup, out: they may.
        WRITE = 1 << 1,
        /// Map: DMA must be coherent with the caches of the processors.
        CACHE = 1 << 2,
        /// Map: do not flush in this call. Unmap: the flush may come later, within the bounds that
        /// QUERY_LIMITS tells; the pages stay referenced until it has.
        NO_FLUSH = 1 << 3,
        /// Map: devices may not fetch instructions.
        NOEXEC = 1 << 4,
        /// Map: the pages are registers of a device, not memory.
        MMIO = 1 << 5,
        /// Map: only privileged requests may use the pages.
        PRIVILEGED = 1 << 6,
        /// Unmap: a BFN without a mapping is passed over instead of `-ENOENT`. Without NO_FLUSH, what was unmapped there
        /// before and waits for its flush is flushed, too.
        SKIP_HOLES = 1 << 7,
    }
}

wire! {
    /// Argument of BATCH.
    ///
    /// Returns 0 if the array was run to its end or to the first element that failed; how each
    /// element went is in its `status`.
    ///
    /// An `owner` other than the domain acted for matters to elements that map only: MAP_GRANT maps
    /// what it granted to the domain acted for; MAP and MAP_LIST map its guest frames, for the
    /// hardware domain only.
    ///
    /// # Errors
    ///
    /// `-EINVAL`: `nr_done` above `nr_ops`, a bad `elem_size`, an unknown context. `-E2BIG`: more
    /// elements than QUERY_LIMITS allows. `-EACCES`: context 0, and the guest does not own it:
    /// TAKE_OWNERSHIP first, which `LIMIT_NEED_IOMMU` rules out. `-EIO`: a flush failed, and the
    /// elements it was for say so; or a unit behind the context had failed before, and nothing was
    /// done.
    struct Batch as "batch", size 40, align 8 {
        /// In: the caller's size of this structure, 40.
        0 => size: u32,
        /// In: how to run.
        4 => flags: BatchFlags,
        /// In: the context all elements act on.
        8 => ctx_id: u32,
        /// In: the domain acted for.
        12 => domid: DomId,
        /// In: whose pages or grants are mapped: `DOMID_SELF` for pages of `domid`.
        14 => owner: DomId,
        /// In: how many elements there are.
        16 => nr_ops: u32,
        /// In: with how many elements to begin finished, 0 at first. Out: how many are finished.
        20 => nr_done: u32,
        /// In: the size of an element, 32.
        24 => elem_size: u32,
        /// Must be 0.
        28 => reserved: u32,
        /// In: address of the array of elements.
        32 => ops: GuestPtr,
    }

    /// One operation of a batch.
    ///
    /// # Errors
    ///
    /// In `status`: `-EOPNOTSUPP`: unknown `op`, or `ELEM_PRIVILEGED` where the hardware does not
    /// tell privileged requests from others. `-EINVAL`: unknown or missing flags, a bad `nr`, a
    /// range that wraps or leaves the aperture. `-EADDRNOTAVAIL`: a BFN is reserved. `-EADDRINUSE`:
    /// a BFN is mapped, and not only by the initial map. `-ENOENT`: nothing is mapped there, or
    /// nothing is behind the guest frame or the grant. `-EPERM`: not a page or a grant that `owner`
    /// lets the caller map so: another owner with MAP or MAP_LIST and not for the hardware domain,
    /// a grant to another domain, WRITE for what may only be read. `-EAGAIN`: the page is paged out
    /// or shared; repeat. `-ENOMEM`: no memory for tables. `-ENOSPC`: as many pages held, or
    /// grants and foreign mappings, as QUERY_LIMITS allows. `-EBUSY`: the page is mapped too often. `-EFAULT`: a bad
    /// list. `-EIO`: the hardware did not answer; what the element was for may be in any state.
    struct BatchElement as "batch_element", size 32, align 8, Default {
        /// In: what to do.
        0 => op: BatchOp,
        /// In: how. Out for LOOKUP: the access.
        2 => flags: ElementFlags,
        /// Out: 0 or a negative error code.
        4 => status: i32,
        /// In: the first bus frame.
        8 => bfn: Bfn,
        /// In: the first guest frame, the grant reference, or the address of a list, as `op` says;
        /// 0 for UNMAP, FLUSH and LOOKUP. Out for LOOKUP: the guest frame, all ones if it is not
        /// known.
        16 => page: u64,
        /// In: how many pages.
        24 => nr: u32,
        /// Out: how many pages are done, with SKIP_HOLES those passed over included. In for MAP,
        /// UNMAP and MAP_LIST with the number `nr_done`: how many were, 0 at first.
        28 => done: u32,
    }
}

impl Batch {
    /// The value of `size`.
    pub const SIZE: u32 = 40;
    /// The value of `elem_size`.
    pub const ELEM_SIZE: u32 = 32;
}

const _: () = assert!(size_of::<Batch>() == Batch::SIZE as usize);
const _: () = assert!(size_of::<BatchElement>() == Batch::ELEM_SIZE as usize);

impl Default for Batch {
    fn default() -> Self {
        Self {
            size: Self::SIZE,
            domid: DomId::SELF,
            owner: DomId::SELF,
            elem_size: Self::ELEM_SIZE,
            ..Self::new_zeroed()
        }
    }
}
