//! Values the optimiser knows nothing about.
#![expect(unsafe_code, reason = "what the optimiser cannot see is foreign to the compiler, too")]

use core::arch::global_asm;

// In assembler, so that not even link-time optimisation sees what it does.
global_asm!(
    ".globl pviommu_opaque",
    ".type pviommu_opaque, @function",
    "pviommu_opaque:",
    "ret",
    ".size pviommu_opaque, . - pviommu_opaque",
);

unsafe extern "C" {
    /// May do anything to what its arguments point to, and answers anything.
    safe fn pviommu_opaque(a: u64, b: u64, c: *const (), d: u64) -> u64;
}

/// Any number at all, as far as the optimiser can tell, and it may depend on `a` and `b`.
pub(crate) fn number(a: u64, b: u64) -> u64 {
    pviommu_opaque(a, b, core::ptr::null(), 0)
}

/// Any answer at all.
pub(crate) fn yes(a: u64, b: u64) -> bool {
    number(a, b) != 0
}

/// Any value where an answer may be missing.
pub(crate) fn maybe(a: u64, b: u64) -> Option<u64> {
    yes(a, b).then(|| number(a, b))
}

/// Has `value` be read, and written where that is allowed, by something unknown.
pub(crate) fn show<T: ?Sized>(value: &T) -> bool {
    pviommu_opaque(0, 0, (&raw const *value).cast(), size_of_val(value) as u64) != 0
}

/// Has `bytes` be filled with anything.
pub(crate) fn fill(a: u64, b: u64, bytes: &mut [u8]) -> bool {
    pviommu_opaque(a, b, bytes.as_mut_ptr().cast_const().cast(), bytes.len() as u64) != 0
}
