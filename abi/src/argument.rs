//! The table: which subop takes which structure.

use core::fmt::Debug;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    AllocContext, AllocContextExt, AllocNested, AttachPasid, Batch, Capabilities, DetachPasid,
    FlushPages, FreeContext, Init, Lookup, MapPages, QueryDevice, QueryLimits, QueryReserved,
    ReadFaults, ReattachDevice, RemoteCmd, Subop, TakeOwnership, UnmapPages,
};

/// A structure that is the argument of a subop.
pub trait Argument: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Debug {
    /// The subop.
    const SUBOP: Subop;
    /// Size, results and buffer.
    const INFO: ArgumentInfo;
}

/// What moves between guest and hypervisor for one subop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentInfo {
    /// Size of the structure in bytes.
    pub size: usize,
    /// Whether the hypervisor writes the structure back.
    pub has_output: bool,
    /// Where in the structure the address of a buffer stands, if the call has one.
    pub pointer_offset: Option<usize>,
}

macro_rules! arguments {
    ($( $SUBOP:ident: $Name:ident, $output:literal $(, $pointer:ident)?; )+) => {
        $(
            impl Argument for $Name {
                const SUBOP: Subop = Subop::$SUBOP;
                const INFO: ArgumentInfo = ArgumentInfo {
                    size: size_of::<$Name>(),
                    has_output: $output,
                    pointer_offset: arguments!(@pointer $Name $($pointer)?),
                };
            }
        )+

        /// What subop `subop` moves; `None` if it takes no structure (`NOOP`, `FLUSH_NESTED`) or is
        /// unknown.
        #[must_use]
        pub const fn info(subop: Subop) -> Option<ArgumentInfo> {
            match subop {
                $( Subop::$SUBOP => Some(<$Name as Argument>::INFO), )+
                _ => None,
            }
        }

        /// The C type of each subop's argument, by the name of the subop, for the C header.
        pub const C_TYPES: &[(&str, &str)] = &[
            $( (stringify!($SUBOP), <$Name as crate::layout::CType>::C_TYPE), )+
        ];
    };
    (@pointer $Name:ident) => { None };
    (@pointer $Name:ident $pointer:ident) => { Some(core::mem::offset_of!($Name, $pointer)) };
}

// PV-IOMMU RFC v7 writes the structure back for subops 1, 3, 6 and 7 only.
arguments! {
    QUERY_CAPABILITIES: Capabilities, true;
    INIT: Init, false;
    ALLOC_CONTEXT: AllocContext, true;
    FREE_CONTEXT: FreeContext, false;
    REATTACH_DEVICE: ReattachDevice, false;
    MAP_PAGES: MapPages, true;
    UNMAP_PAGES: UnmapPages, true;
    REMOTE_CMD: RemoteCmd, false, arg;
    ALLOC_NESTED: AllocNested, true;
    ATTACH_PASID: AttachPasid, false;
    DETACH_PASID: DetachPasid, false;
    FLUSH_PAGES: FlushPages, false;
    BATCH: Batch, true, ops;
    QUERY_RESERVED: QueryReserved, true, entries;
    TAKE_OWNERSHIP: TakeOwnership, false;
    LOOKUP: Lookup, true;
    QUERY_DEVICE: QueryDevice, true;
    READ_FAULTS: ReadFaults, true, records;
    QUERY_LIMITS: QueryLimits, true;
    ALLOC_CONTEXT_EXT: AllocContextExt, true;
}
