//! The structures of subops 1 to 13.
//!
//! Bit for bit those of PV-IOMMU RFC v7, `public/pv-iommu.h` (13: its deferred-flush extension),
//! for 64-bit callers. Rules that hold for all of them:
//!
//! * Padding is the guest's own bytes: ignored on input, and preserved on output. C callers do not
//!   reliably clear it.
//! * A long call is preempted. The hypervisor then writes its progress into the argument and has
//!   the instruction executed again, so the fields marked "updated" have changed when a call
//!   returns.
//! * Posted headers leave the padding implicit, and on 32-bit guests it is not there. A 32-bit
//!   caller's structures are therefore others than these, and are refused with `-EOPNOTSUPP`.
//!
//! | file | structures |
//! |---|---|
//! | `context` | capabilities, init, contexts, devices, remote command |
//! | `mapping` | map, unmap, flush |
//! | `reserved` | nested contexts and PASIDs: layouts without a meaning |

pub(crate) mod context;
pub(crate) mod mapping;
pub(crate) mod reserved;

pub use context::{AllocContext, Capabilities, FreeContext, Init, ReattachDevice, RemoteCmd};
pub use mapping::{FlushPages, MapPages, UnmapPages};
pub use reserved::{AllocNested, AttachPasid, DetachPasid};
