//! The interrupt descriptor table: an exception is told, and ends the run as failed.
//!
//! Nothing here expects an exception, and interrupts stay off: units and devices are polled. Source:
//! Intel SDM volume 3, sections 6.10 to 6.14.
#![expect(unsafe_code, reason = "the processor is told where the handlers are")]

use core::arch::{asm, global_asm};

use spin::Once;

use super::exit::{Exit, exit};

/// Vectors that are exceptions.
const EXCEPTIONS: usize = 32;
/// Bytes of each entry in the assembly below.
const STUB: usize = 16;

global_asm!(
    ".pushsection .text.exceptions, \"ax\", @progbits",
    ".balign 16",
    ".global exception_stubs",
    "exception_stubs:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    // These push an error code of their own; for the others there is a zero in its place.
    ".if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17) && (vector != 21) && (vector < 29 || vector > 30)",
    "push 0",
    ".endif",
    "push vector",
    "jmp 2f",
    ".set vector, vector + 1",
    ".endr",
    "2:",
    "mov rdi, rsp",
    "and rsp, -16",
    "call tell_exception",
    "ud2",
    ".popsection",
);

unsafe extern "C" {
    /// The code for vector 0; that of each next one is [`STUB`] bytes after.
    static exception_stubs: [u8; 0];
}

/// What is on the stack when an exception has come.
#[repr(C)]
#[derive(Debug)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Called by the stubs above.
#[unsafe(no_mangle)]
extern "C" fn tell_exception(frame: &Frame) -> ! {
    let address: u64;
    // SAFETY: reading CR2 changes nothing, and this runs in ring 0.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    log::error!(
        "exception {} at {:#x}, error {:#x}, rsp {:#x}, cr2 {address:#x}",
        frame.vector,
        frame.rip,
        frame.error,
        frame.rsp,
    );
    exit(Exit::Failed)
}

/// An entry of the table, as two words.
type Gate = [u64; 2];

/// An interrupt gate to 64-bit code in ring 0.
const fn gate(handler: u64) -> Gate {
    const PRESENT_INTERRUPT: u64 = 0x8e << 40;
    const CODE: u64 = 0x18 << 16;
    let low = handler & 0xffff | CODE | PRESENT_INTERRUPT | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Has the calling processor use the table.
pub fn install() {
    static TABLE: Once<[Gate; EXCEPTIONS]> = Once::new();
    let table = TABLE.call_once(|| {
        let first = (&raw const exception_stubs).addr();
        core::array::from_fn(|vector| gate((first + vector * STUB) as u64))
    });
    #[repr(C, packed)]
    struct Pointer(u16, u64);
    let pointer = Pointer((size_of_val(table) - 1) as u16, table.as_ptr().addr() as u64);
    // SAFETY: the table is never moved, and each entry leads to a handler that does not return.
    unsafe {
        asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags));
    }
}
