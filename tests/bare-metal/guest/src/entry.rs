//! Where a virtual processor begins: in long mode, with the tables below, at `guest_entry`.
//!
//! The first 4 GiB of guest addresses are mapped one to one by pages of 2 MiB: below 2 GiB cached, for
//! memory; above uncached, for registers of devices. Each processor has a stack of its own.
#![expect(unsafe_code, reason = "the first instructions are assembly")]

use core::arch::global_asm;

/// Most virtual processors that there are stacks for.
pub const MOST: u64 = 2;
/// Bytes of a stack, as a power of two.
const STACK_SHIFT: u64 = 17;

global_asm!(
    ".pushsection .tables, \"aw\", @progbits",
    ".balign 4096",
    // The first page of the image.
    "guest_level4:",
    ".quad guest_level3 + 3",
    ".skip 4096 - 8",
    "guest_level3:",
    ".quad guest_level2 + 3, guest_level2 + 0x1003, guest_level2 + 0x2003, guest_level2 + 0x3003",
    ".skip 4096 - 32",
    "guest_level2:",
    ".set address, 0",
    ".rept 1024",
    ".quad address + 0x83", // present, writable, a page of 2 MiB
    ".set address, address + 0x200000",
    ".endr",
    ".rept 1024",
    ".quad address + 0x9b", // and PWT, PCD
    ".set address, address + 0x200000",
    ".endr",
    ".popsection",
    //
    ".pushsection .text.entry, \"ax\", @progbits",
    ".global guest_entry",
    "guest_entry:",
    "mov rcx, rdi",
    "shl rcx, {stack_shift}",
    "mov rsp, offset guest_stacks_end",
    "sub rsp, rcx",
    "xor ebp, ebp",
    "call guest_main",
    "ud2",
    ".popsection",
    //
    ".pushsection .bss.stacks, \"aw\", @nobits",
    ".balign 4096",
    ".skip {stacks}",
    ".global guest_stacks_end",
    "guest_stacks_end:",
    ".popsection",
    stack_shift = const STACK_SHIFT,
    stacks = const MOST << STACK_SHIFT,
);

unsafe extern "C" {
    /// Where the stacks end; the first processor's is the last.
    static guest_stacks_end: u8;
}

/// The number of the processor that runs: each has a stack of its own.
pub fn processor() -> usize {
    let here = 0_u8;
    let below = (&raw const guest_stacks_end).addr() - (&raw const here).addr() - 1;
    below >> STACK_SHIFT
}

/// What the hypervisor leaves in three registers: the number of the processor, the name of the program
/// in ASCII with zeros behind, and flags (`programs`).
#[unsafe(no_mangle)]
extern "C" fn guest_main(processor: u64, program: u64, flags: u64) -> ! {
    crate::programs::run(processor, program.to_le_bytes(), flags)
}
