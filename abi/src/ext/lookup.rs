//! Subop 0x43: what a BFN maps to.

use zerocopy::FromZeros;

use crate::{AccessFlags, Bfn, DomId, Gfn};

open_enum! {
    /// Who made an entry.
    struct Origin(u32) as "ORIGIN_", Default {
        /// The map that was set up at creation and then left alone.
        INITIAL = 1,
        /// The hypervisor, which keeps it in step with the domain's memory.
        MAINTAINED = 2,
        /// The guest.
        GUEST = 3,
        /// A reserved range.
        RESERVED = 4,
    }
}

flags! {
    /// `flags` of LOOKUP. No bit is defined.
    struct LookupFlags(u32) as "LOOKUP_" {}

    /// Which results of LOOKUP are there.
    struct LookupResult(u32) as "LOOKUP_RESULT_" {
        /// `gfn` is known. Clear where the embedder keeps no table from machine frames to guest
        /// frames.
        GFN = 1 << 0,
        /// `mfn` is told, because the caller may see it.
        MFN = 1 << 1,
        /// The page is registers of a device.
        MMIO = 1 << 2,
        /// The page is another domain's: a grant or a foreign mapping.
        FOREIGN = 1 << 3,
    }
}

wire! {
    /// Argument of LOOKUP: what a BFN maps to.
    ///
    /// # Errors
    ///
    /// `-ENOENT`: no such context, or only the background is there. `-EINVAL`: outside the
    /// aperture.
    struct Lookup as "lookup", size 56, align 8 {
        /// In: the caller's size of this structure, 56.
        0 => size: u32,
        /// In: no bit is defined.
        4 => flags: LookupFlags,
        /// In: the context.
        8 => ctx_id: u32,
        /// In: the domain acted for.
        12 => domid: DomId,
        /// Must be 0.
        14 => reserved: u16,
        /// In: the bus frame.
        16 => bfn: Bfn,
        /// Out: the guest frame behind it, with `LOOKUP_RESULT_GFN`.
        24 => gfn: Gfn,
        /// Out: the machine frame behind it, with `LOOKUP_RESULT_MFN`; else 0.
        32 => mfn: u64,
        /// Out: what devices may do.
        40 => access: AccessFlags,
        /// Out: who made the entry.
        44 => origin: Origin,
        /// Out: log2 of the number of 4 KiB pages that the entry covers.
        48 => order: u32,
        /// Out: which of the results are there.
        52 => result: LookupResult,
    }
}

impl Lookup {
    /// The value of `size`.
    pub const SIZE: u32 = 56;
}

const _: () = assert!(size_of::<Lookup>() == Lookup::SIZE as usize);

impl Default for Lookup {
    fn default() -> Self {
        Self { size: Self::SIZE, domid: DomId::SELF, ..Self::new_zeroed() }
    }
}
