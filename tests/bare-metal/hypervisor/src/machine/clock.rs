//! The time, by the processor's time stamp counter, which is measured once against the interval timer.
//!
//! Source of the timer: Intel 82C54 data sheet; its channel 2 is gated and read at port 61h.
#![expect(
    unsafe_code,
    reason = "the counter is read, and caches are written back, by instructions"
)]

use core::{
    arch::x86_64::{_mm_clflush, _mm_sfence, _rdtsc},
    sync::atomic::AtomicU64,
};

use pviommu_hypervisor::platform::Host;
use spin::Once;

use super::port;

/// Ticks a second of the interval timer.
const TIMER_HZ: u64 = 1_193_182;
/// How long is measured.
const TICKS: u16 = 11_932; // 10 ms

static PER_MILLISECOND: Once<u64> = Once::new();

fn counter() -> u64 {
    // SAFETY: all processors with 64 bits have the instruction.
    unsafe { _rdtsc() }
}

fn measure() -> u64 {
    const CONTROL: u16 = 0x43;
    const CHANNEL_2: u16 = 0x42;
    const GATE: u16 = 0x61;
    port::write8(GATE, port::read8(GATE) & !0b11);
    port::write8(CONTROL, 0b1011_0000); // channel 2, both bytes, one shot
    port::write8(CHANNEL_2, TICKS as u8);
    port::write8(CHANNEL_2, (TICKS >> 8) as u8);
    let begin = counter();
    port::write8(GATE, port::read8(GATE) & !0b11 | 1);
    while port::read8(GATE) & 1 << 5 == 0 {}
    let spent = counter() - begin;
    spent * TIMER_HZ / (u64::from(TICKS) * 1000)
}

/// Microseconds since some time before the first call.
#[must_use]
pub fn now_us() -> u64 {
    let rate = *PER_MILLISECOND.call_once(measure);
    (u128::from(counter()) * 1000 / u128::from(rate.max(1))) as u64
}

/// Waits until `done`, at most `limit_us` microseconds; whether it was.
pub fn wait(limit_us: u64, mut done: impl FnMut() -> bool) -> bool {
    let begin = now_us();
    loop {
        if done() {
            return true;
        }
        if now_us() - begin > limit_us {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// What drivers of units need of this machine.
#[derive(Debug)]
pub struct Clock;

impl Host for Clock {
    fn now_us(&self) -> u64 {
        now_us()
    }

    fn write_back(&self, words: &[AtomicU64]) {
        // Lines of this architecture have 64 bytes; an unaligned begin is in the line of its word.
        for line in words.chunks(8) {
            if let (Some(first), Some(last)) = (line.first(), line.last()) {
                // SAFETY: the line is mapped, because the word is.
                unsafe { _mm_clflush(core::ptr::from_ref(first).cast()) };
                // SAFETY: as above.
                unsafe { _mm_clflush(core::ptr::from_ref(last).cast()) };
            }
        }
        // SAFETY: all processors with 64 bits have the instruction.
        unsafe { _mm_sfence() };
    }
}
