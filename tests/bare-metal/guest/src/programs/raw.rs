//! The one place where programs make slices of pages.
#![expect(unsafe_code, reason = "pages are handed out by their address")]

use core::ptr::NonNull;

/// Pages as bytes, for good.
pub fn slice(memory: NonNull<u8>, length: usize) -> &'static mut [u8] {
    // SAFETY: `memory::allocate` handed out as many zeroed bytes; they are not given back, and each caller
    // makes one slice of what it was given.
    unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), length) }
}
