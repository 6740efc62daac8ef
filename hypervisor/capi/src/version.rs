//! What C asks before anything else, and the list of runs that `acquire` fills.
#![expect(unsafe_code, reason = "symbols that C links to have names of their own")]

use core::ffi::c_int;

use crate::{
    lent::ALIGNMENT,
    platform::{Acquired, RunOf, push},
    pointers::In,
    status::ended,
};

/// The version of the header: structures and functions are as it has them.
pub const API_VERSION: u32 = 1;

/// The version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_api_version() -> u32 {
    API_VERSION
}

/// The alignment of memory that is lent for objects.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_alignment() -> usize {
    ALIGNMENT
}

/// Appends a run to what `acquire` or `acquire_list` has acquired.
///
/// # Safety
///
/// `runs` is null or what `acquire` or `acquire_list` was given, and that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pviommu_runs_push(runs: *mut Acquired, run: In<RunOf>) -> c_int {
    ended(|| {
        let run = run.read()?;
        // SAFETY: the caller's promise.
        unsafe { push(runs, run) }
    })
}
