//! A program that can be linked only if no panic is reachable from the entry points of the service.
//!
//! Its panic handler calls a function that does not exist. If the optimiser can show that nothing
//! panics, the handler is dropped and nothing asks for that function; if a single panic is left,
//! the linker names the function that holds it. The program is linked, and never run.
//!
//! The proof is as good as what the optimiser does not know: all arguments come in from outside,
//! and every answer of the [`platform`] is made up by a function it does not see.

#![no_std]
#![no_main]

mod acpi;
#[cfg(feature = "amdvi")]
mod amdvi;
mod entries;
mod opaque;
mod operator;
mod platform;
mod rest;
mod topology;
#[cfg(feature = "vtd")]
mod vtd;

use core::panic::PanicInfo;

#[expect(unsafe_code, reason = "a function that does not exist is a foreign one")]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn pviommu_a_panic_is_reachable() -> !;
    }
    // SAFETY: never called: a program in which it could be is not linked.
    unsafe { pviommu_a_panic_is_reachable() }
}
