//! Input and output ports.
//!
//! These are safe functions, although a write to a port can do anything: only this crate's own machine
//! code calls them, and none of the devices that are reached this way does DMA by being told to.
#![expect(unsafe_code, reason = "ports are reached by instructions of their own")]

use core::arch::asm;

/// Reads a byte.
#[must_use]
pub fn read8(port: u16) -> u8 {
    let value;
    // SAFETY: ring 0, and the instruction touches no memory.
    unsafe {
        asm!("in al, dx", out("al") value, in("dx") port, options(nomem, nostack, preserves_flags));
    }
    value
}

/// Writes a byte.
pub fn write8(port: u16, value: u8) {
    // SAFETY: as above.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
    }
}

/// Reads 32 bits.
#[must_use]
pub fn read32(port: u16) -> u32 {
    let value;
    // SAFETY: as above.
    unsafe {
        asm!("in eax, dx", out("eax") value, in("dx") port, options(nomem, nostack, preserves_flags));
    }
    value
}

/// Writes 32 bits.
pub fn write32(port: u16, value: u32) {
    // SAFETY: as above. It may start what somebody looks for in memory: so not `nomem`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
    }
}
