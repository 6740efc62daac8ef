//! Subops 0x42 and 0x47: who edits the default context, and contexts with chosen properties.

use zerocopy::FromZeros;

use crate::{Background, Bfn, DomId};

open_enum! {
    /// The form of the ownership switch of context 0.
    struct OwnershipMode(u32) as "OWNERSHIP_" {
        /// Start from the background, as a native IOMMU driver does: a new table with nothing but
        /// reserved ranges takes the place of the initial map as a whole.
        CLEAR = 1,
        /// The initial entries stay until the guest maps over them or unmaps them; none of them
        /// counts as a conflict.
        KEEP = 2,
        /// The initial map comes back, what the guest mapped goes away, and the guest can edit
        /// nothing until it takes over again; for the next kernel.
        GIVE_BACK = 3,
    }
}

flags! {
    /// `flags` of TAKE_OWNERSHIP. No bit is defined.
    struct TakeOwnershipFlags(u32) as "TAKE_OWNERSHIP_" {}

    /// `flags` of ALLOC_CONTEXT_EXT. No bit is defined.
    struct AllocContextExtFlags(u32) as "ALLOC_CONTEXT_EXT_" {}
}

wire! {
    /// Argument of TAKE_OWNERSHIP: the default context changes hands, between the map the
    /// hypervisor set up and the guest's own. Until then the guest can look it up and not edit it:
    /// v7's subops answer `-EINVAL`, BATCH `-EACCES`. From then on it is a context like any other.
    ///
    /// At each moment every DMA is translated by one map or the other, and reserved ranges are
    /// mapped in both. A call for the state that is reached already succeeds and changes nothing: the
    /// guest owns the context, after CLEAR and after KEEP, or it does not. A guest that may have
    /// inherited mappings gives back first, then takes over. A call that was interrupted is finished by
    /// the next one, whatever its form.
    ///
    /// # Errors
    ///
    /// `-EACCES`: the hypervisor maintains the map (`LIMIT_NEED_IOMMU`), and always will.
    /// `-EINVAL`: unknown `mode`, or a background other than `BACKGROUND_DEFAULT` with a mode that
    /// is not CLEAR. `-EOPNOTSUPP`: no such background here. `-ENOMEM`, and for GIVE_BACK
    /// `-EAGAIN` or `-EBUSY` (a page is paged out, or held too often): the new map cannot be built;
    /// the old one stays. `-EADDRINUSE`: what the firmware of two devices needs cannot be in one map;
    /// the old one stays. `-ENOSPC`: no hardware tag left; the old one stays. `-EIO`: the hardware did
    /// not answer; a device may use either map, or none.
    struct TakeOwnership as "take_ownership", size 24, align 4 {
        /// In: the caller's size of this structure, 24.
        0 => size: u32,
        /// In: no bit is defined.
        4 => flags: TakeOwnershipFlags,
        /// In: the domain acted for.
        8 => domid: DomId,
        /// Must be 0.
        10 => reserved0: u16,
        /// In: the form of the switch.
        12 => mode: OwnershipMode,
        /// In, with CLEAR: what unmapped BFNs do from now on.
        16 => background: Background,
        /// Must be 0.
        20 => reserved1: u32,
    }

    /// Argument of ALLOC_CONTEXT_EXT: a new context with a chosen background and aperture.
    ///
    /// # Errors
    ///
    /// `-ENOSPC`: no context is free, or INIT was not called. `-EINVAL`: a `size` that does not
    /// reach over `ctx_id`, an aperture that is empty or wider than QUERY_LIMITS tells.
    /// `-EOPNOTSUPP`: a non-zero `parent` or `format`, or no such background here. `-ENOMEM`: no
    /// memory for its tables.
    struct AllocContextExt as "alloc_context_ext", size 48, align 8 {
        /// In: the caller's size of this structure, 48.
        0 => size: u32,
        /// In: no bit is defined.
        4 => flags: AllocContextExtFlags,
        /// In: the domain acted for.
        8 => domid: DomId,
        /// Must be 0.
        10 => reserved0: u16,
        /// In: what unmapped BFNs do.
        12 => background: Background,
        /// In: the first BFN that may be mapped.
        16 => aperture_first: Bfn,
        /// In: the last BFN that may be mapped; with 0 in both, the widest the service has.
        24 => aperture_last: Bfn,
        /// Out: the context, never 0.
        32 => ctx_id: u32,
        /// Must be 0; kept for the context a nested one stands on.
        36 => parent: u32,
        /// Must be 0; kept for the format of a table the guest owns.
        40 => format: u32,
        /// Must be 0.
        44 => reserved1: u32,
    }
}

impl TakeOwnership {
    /// The value of `size`.
    pub const SIZE: u32 = 24;
}

impl AllocContextExt {
    /// The value of `size`.
    pub const SIZE: u32 = 48;
}

const _: () = assert!(size_of::<TakeOwnership>() == TakeOwnership::SIZE as usize);
const _: () = assert!(size_of::<AllocContextExt>() == AllocContextExt::SIZE as usize);

impl Default for TakeOwnership {
    /// Needs a `mode` still.
    fn default() -> Self {
        Self { size: Self::SIZE, domid: DomId::SELF, ..Self::new_zeroed() }
    }
}

impl Default for AllocContextExt {
    fn default() -> Self {
        Self { size: Self::SIZE, domid: DomId::SELF, ..Self::new_zeroed() }
    }
}
