//! What a panic does where there is no operating system: it is the embedder's, and does not return.
#![expect(unsafe_code, reason = "the embedder defines a symbol")]

use core::{ffi::c_char, panic::PanicInfo};

unsafe extern "C" {
    /// Ends the machine. `file` are `length` bytes, not ended by a NUL.
    safe fn pviommu_panic(file: *const c_char, length: usize, line: u32) -> !;
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
    pviommu_panic(file.as_ptr().cast(), file.len(), line)
}
