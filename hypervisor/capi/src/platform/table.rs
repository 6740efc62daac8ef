//! The table of functions: `struct pviommu_platform` of the header, where each is described.

use core::ffi::{c_int, c_void};

use pviommu_abi::PciDevice;

use super::{Acquired, InitialPiece, Operation, RunOf, WantedPages};
use crate::{domain::Domain, pointers::Shared};

/// A domain that `get_domain` found.
pub type DomainRef = Shared<Domain>;

type Call<Function> = Option<Function>;

/// `struct pviommu_platform`: what the embedder provides, each function called with its context first. One
/// that may be left out is null then.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says it")]
pub struct PlatformTable {
    // The memory of guests.
    pub copy_in: Call<unsafe extern "C" fn(*mut c_void, u16, u64, *mut c_void, usize) -> c_int>,
    pub copy_out: Call<unsafe extern "C" fn(*mut c_void, u16, u64, *const c_void, usize) -> c_int>,

    // Pages.
    pub acquire: Call<
        unsafe extern "C" fn(*mut c_void, u16, *const WantedPages, u32, *mut Acquired) -> c_int,
    >,
    pub acquire_list: Call<
        unsafe extern "C" fn(*mut c_void, u16, u16, *const u64, usize, u32, *mut Acquired) -> c_int,
    >,
    pub release: Call<unsafe extern "C" fn(*mut c_void, u16, *const RunOf)>,
    pub gfn_of: Call<unsafe extern "C" fn(*mut c_void, u16, u64, *mut u64) -> c_int>,
    pub initial_map: Call<unsafe extern "C" fn(*mut c_void, u16, u64, *mut InitialPiece) -> c_int>,
    pub may_be_direct: Call<unsafe extern "C" fn(*mut c_void, u64, u64) -> c_int>,

    // Memory for page tables.
    pub alloc_table: Call<unsafe extern "C" fn(*mut c_void, u16, u32, *mut u64) -> c_int>,
    pub free_table: Call<unsafe extern "C" fn(*mut c_void, u16, u64, u32)>,
    pub reserve_tables: Call<unsafe extern "C" fn(*mut c_void, u16, u32) -> c_int>,
    pub unreserve_tables: Call<unsafe extern "C" fn(*mut c_void, u16, u32)>,
    pub alloc_scratch: Call<unsafe extern "C" fn(*mut c_void, u16, *mut u64) -> c_int>,
    pub free_scratch: Call<unsafe extern "C" fn(*mut c_void, u16, u64)>,
    pub table: Call<unsafe extern "C" fn(*mut c_void, u64) -> *mut u64>,
    pub first_table: Call<unsafe extern "C" fn(*mut c_void, u64, u64, *mut u64) -> c_int>,
    pub publish: Call<unsafe extern "C" fn(*mut c_void, u64, u32, u32)>,

    // Units that are driven by the embedder.
    pub attach: Call<unsafe extern "C" fn(*mut c_void, u16, PciDevice, u64, u32, u16) -> c_int>,
    pub block: Call<unsafe extern "C" fn(*mut c_void, u16, PciDevice) -> c_int>,
    pub invalidate: Call<unsafe extern "C" fn(*mut c_void, u16, u16, u32, u64, u64) -> c_int>,
    pub sync_map: Call<unsafe extern "C" fn(*mut c_void, u16, u16, u64, u64) -> c_int>,
    pub stop: Call<unsafe extern "C" fn(*mut c_void, u16, PciDevice)>,
    pub restart: Call<unsafe extern "C" fn(*mut c_void, u16, PciDevice)>,
    pub unit_failed: Call<unsafe extern "C" fn(*mut c_void, u16)>,

    // Names, scheduling, policy.
    pub resolve: Call<unsafe extern "C" fn(*mut c_void, u16, PciDevice, *mut PciDevice) -> c_int>,
    pub name_of: Call<unsafe extern "C" fn(*mut c_void, u16, PciDevice, *mut PciDevice) -> c_int>,
    pub get_domain: Call<unsafe extern "C" fn(*mut c_void, u16) -> DomainRef>,
    pub put_domain: Call<unsafe extern "C" fn(*mut c_void, DomainRef)>,
    pub should_yield: Call<unsafe extern "C" fn(*mut c_void) -> c_int>,
    pub allow: Call<unsafe extern "C" fn(*mut c_void, *const Operation) -> c_int>,
}

impl PlatformTable {
    /// The name of a function that has to be there and is not. `driven`: all units are driven by this
    /// library.
    pub(crate) fn lacks(&self, driven: bool) -> Option<&'static str> {
        let always = [
            ("copy_in", self.copy_in.is_some()),
            ("copy_out", self.copy_out.is_some()),
            ("acquire", self.acquire.is_some()),
            ("release", self.release.is_some()),
            ("alloc_table", self.alloc_table.is_some()),
            ("free_table", self.free_table.is_some()),
            ("table", self.table.is_some()),
            ("first_table", self.first_table.is_some()),
            ("resolve", self.resolve.is_some()),
            ("put_domain", self.get_domain.is_none() || self.put_domain.is_some()),
            ("unreserve_tables", self.reserve_tables.is_none() || self.unreserve_tables.is_some()),
            ("free_scratch", self.alloc_scratch.is_none() || self.free_scratch.is_some()),
        ];
        let of_units = [
            ("attach", self.attach.is_some()),
            ("block", self.block.is_some()),
            ("invalidate", self.invalidate.is_some()),
            ("sync_map", self.sync_map.is_some()),
            ("stop", self.stop.is_some()),
            ("restart", self.restart.is_some()),
        ];
        let wanted = always.iter().chain(of_units.iter().filter(|_| !driven));
        wanted.filter(|(_, there)| !there).map(|(name, _)| *name).next()
    }
}
