//! Nested contexts and PASIDs: layouts that PV-IOMMU RFC v7, `public/pv-iommu.h`, announces without
//! a definition.
//!
//! The subops answer `-EOPNOTSUPP`, as the reference does. The layouts are here so that a tool can
//! name the fields of such a call, and so that nobody gives the numbers another meaning.
//! FLUSH_NESTED (10) has an empty structure.

use crate::{ContextId, Gfn, PciDevice};

wire! {
    /// Argument of ALLOC_NESTED. Not served: `-EOPNOTSUPP`.
    struct AllocNested as "alloc_nested", size 24, align 8, Default {
        /// Out: the context.
        0 => ctx_no: ContextId,
        /// Padding.
        2 => pad0: [u8; 6],
        /// In: the guest frame of the root of the guest's own table.
        8 => pgtable_gfn: Gfn,
        /// In: no bit is defined.
        16 => nested_flags: u64,
    }

    /// Argument of ATTACH_PASID. Not served: `-EOPNOTSUPP`.
    struct AttachPasid as "attach_pasid", size 12, align 4, Default {
        /// In: the context.
        0 => ctx_no: ContextId,
        /// In: the device, as the guest numbers it.
        2 => dev: PciDevice,
        /// Padding.
        6 => pad0: [u8; 2],
        /// In: the PASID, not 0.
        8 => pasid: u32,
    }

    /// Argument of DETACH_PASID. Not served: `-EOPNOTSUPP`.
    struct DetachPasid as "detach_pasid", size 8, align 4, Default {
        /// In: the device, as the guest numbers it.
        0 => dev: PciDevice,
        /// In: the PASID, not 0.
        4 => pasid: u32,
    }
}
