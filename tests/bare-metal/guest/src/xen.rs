//! The hypercalls of this guest beside `iommu_op`: what it says, and that it ends.
//!
//! They have the numbers and arguments of Xen's (`xen/include/public/xen.h`, `sched.h`): `console_io` with
//! `CONSOLEIO_write`, and `sched_op` with `SCHEDOP_shutdown`.
#![expect(unsafe_code, reason = "hypercalls are instructions, and pass addresses")]

use core::{
    arch::asm,
    fmt::{self, Write},
};

use pviommu_guest::Vmmcall;
use spin::Mutex;

const CONSOLE_IO: u64 = 18;
const CONSOLE_WRITE: u64 = 0;
const SCHED_OP: u64 = 29;
const SHUTDOWN: u64 = 2;

/// Any hypercall with any registers: the hypervisor may write wherever `arguments` point.
///
/// # Safety
///
/// What the call may write at these addresses is memory that nobody uses otherwise.
pub unsafe fn hypercall(number: u64, arguments: [u64; 3]) -> i64 {
    let [first, second, third] = arguments;
    let result: i64;
    // SAFETY: the hypervisor serves it, and keeps all registers but these; memory is the caller's promise.
    unsafe {
        asm!(
            "vmmcall",
            inlateout("rax") number => result,
            inlateout("rdi") first => _,
            inlateout("rsi") second => _,
            inlateout("rdx") third => _,
            lateout("r10") _,
            lateout("r8") _,
            lateout("r9") _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The way to the service.
pub const fn transport() -> Vmmcall {
    // SAFETY: this image only runs as a guest of the small hypervisor, which serves `vmmcall` as Xen does;
    // its addresses are guest addresses, one to one (`entry.rs`).
    unsafe { Vmmcall::new() }
}

/// A line, put together before it is told: another processor's may come in between.
struct Line {
    text: [u8; 200],
    used: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What does not fit is left out.
        for (to, from) in self.text[self.used..].iter_mut().zip(text.bytes()) {
            *to = from;
            self.used += 1;
        }
        Ok(())
    }
}

static CONSOLE: Mutex<()> = Mutex::new(());

/// Tells a line, without its end.
pub fn tell(line: fmt::Arguments<'_>) {
    let mut room = Line { text: [0; 200], used: 0 };
    // It does not fail.
    let _ = writeln!(room, "{line}");
    let _turn = CONSOLE.lock();
    let text = &room.text[..room.used];
    // SAFETY: it only reads, from `text`.
    unsafe {
        hypercall(CONSOLE_IO, [CONSOLE_WRITE, text.len() as u64, text.as_ptr().addr() as u64])
    };
}

/// Ends the domain: `reason` 0 if all went as it should, 3 (a crash) if not.
pub fn shutdown(reason: u32) -> ! {
    let argument = [reason];
    loop {
        // SAFETY: it only reads, from `argument`.
        unsafe { hypercall(SCHED_OP, [SHUTDOWN, argument.as_ptr().expose_provenance() as u64, 0]) };
    }
}

/// Ends this processor: it waits for an interrupt, and there are none.
pub fn halt() -> ! {
    loop {
        // SAFETY: ring 0; it changes nothing.
        unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    tell(format_args!("{info}"));
    shutdown(3)
}
