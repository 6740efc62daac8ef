//! The structures of subops from 0x40 on.
//!
//! Rules that hold for all of them:
//!
//! * Each argument begins `size: u32, flags: u32`. `size` is the caller's size of the structure,
//!   from 8 to 4096; any other is `-EINVAL`. A shorter one than the service knows reads as zeros from its end on, and only the
//!   caller's bytes are written back; a longer one is accepted if the part the service does not
//!   know is zero, and `-EINVAL` if it is not. So they can grow.
//! * Unknown flags and non-zero reserved fields are `-EINVAL`, and nothing is changed.
//! * `domid` is the domain acted for: `DomId::SELF`, or another if the caller may (`-EPERM`), if it
//!   exists (`-ESRCH`).
//! * Arrays are passed by address with the caller's `elem_size`; it has to be the size of the
//!   element structure.
//! * A subop without its capability bit is `-EOPNOTSUPP`. A bad address is `-EFAULT`. Both are not
//!   repeated below.
//!
//! `Default` of each argument is a valid start: `size` and `domid` are set, everything else is
//! zero.
//!
//! | file | subops |
//! |---|---|
//! | `batch` | 0x40 batch |
//! | `context` | 0x42 take_ownership, 0x47 alloc_context |
//! | `device` | the device handle; 0x41 query_reserved, 0x44 query_device |
//! | `lookup` | 0x43 lookup |
//! | `fault` | 0x45 read_faults |
//! | `limits` | 0x46 query_limits |

pub(crate) mod batch;
pub(crate) mod context;
pub(crate) mod device;
pub(crate) mod fault;
pub(crate) mod limits;
pub(crate) mod lookup;

pub use batch::{Batch, BatchElement, BatchFlags, BatchOp, ElementFlags};
pub use context::{
    AllocContextExt, AllocContextExtFlags, OwnershipMode, TakeOwnership, TakeOwnershipFlags,
};
pub use device::{
    DeviceFlags, DeviceHandle, DeviceKind, QueryDevice, QueryDeviceFlags, QueryReserved,
    QueryReservedFlags, ReservedKind, ReservedRange,
};
pub use fault::{FaultReason, FaultRecord, ReadFaults, ReadFaultsFlags};
pub use limits::{LimitFlags, QueryLimits, QueryLimitsFlags};
pub use lookup::{Lookup, LookupFlags, LookupResult, Origin};

flags! {
    /// What a device may do, or tried to do.
    struct AccessFlags(u32) as "ACCESS_" {
        /// Read memory.
        READ = 1 << 0,
        /// Write memory.
        WRITE = 1 << 1,
        /// Fetch instructions.
        EXECUTE = 1 << 2,
        /// In a fault: the request was privileged.
        PRIVILEGED = 1 << 3,
    }
}

open_enum! {
    /// What a BFN that nobody mapped does.
    struct Background(u32) as "BACKGROUND_", Default {
        /// In: what the embedder chose for the domain. Never told.
        DEFAULT = 0,
        /// DMA there is blocked and recorded.
        FAULT = 1,
        /// DMA there goes to a page of the context's own that nobody else reads.
        SCRATCH = 2,
    }
}
