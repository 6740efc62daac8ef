//! How long is waited: by the time stamp counter, of which a second has some thousand million ticks.
#![expect(unsafe_code, reason = "the counter is read by an instruction")]

use core::arch::x86_64::_rdtsc;

/// About as many ticks as a second has, on any machine that this runs on.
pub const SECOND: u64 = 2_000_000_000;

/// Ticks since some moment.
pub fn now() -> u64 {
    // SAFETY: all processors with 64 bits have the instruction.
    unsafe { _rdtsc() }
}

/// Waits until `done`, and at most `ticks`; whether it was.
pub fn wait(ticks: u64, mut done: impl FnMut() -> bool) -> bool {
    let begin = now();
    loop {
        if done() {
            return true;
        }
        if now().wrapping_sub(begin) > ticks {
            return false;
        }
        core::hint::spin_loop();
    }
}
