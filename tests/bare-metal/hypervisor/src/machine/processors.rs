//! More than one processor: they are started on demand, and then do what they are given.
//!
//! Source: Intel SDM volume 3, sections 8.4.4.1 (INIT and start-up) and 10.6.1 (interrupt command register).
#![expect(
    unsafe_code,
    reason = "a processor is started at code and on a stack that it finds by their address"
)]

use core::{
    mem,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use pviommu_hypervisor::platform::RegisterBlock;
use spin::Mutex;

use super::{
    clock,
    frames::FREE,
    memory::{self, PAGE},
    mmio,
};

/// Most processors that are used.
pub const MOST: usize = 4;
const STACK_PAGES: usize = 64;
/// Where the trampoline is copied to: the page with this number, below 1 MiB.
const TRAMPOLINE: u64 = 8;
const LOCAL_APIC: u64 = 0xfee0_0000;

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static processor_stack: AtomicU64;
    static processor_number: AtomicU64;
}

/// How many run, the first one among them.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

type Work = &'static (dyn Fn() + Sync);
/// What each is to do next; it is taken out after it was done.
static WORK: [Mutex<Option<Work>>; MOST] = [const { Mutex::new(None) }; MOST];

/// Has a processor that was started wait for work, for ever.
pub fn serve(number: usize) -> ! {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    loop {
        let work = WORK.get(number).and_then(|work| *work.lock());
        if let (Some(work), Some(place)) = (work, WORK.get(number)) {
            work();
            *place.lock() = None;
        }
        core::hint::spin_loop();
    }
}

/// Starts all processors that there are, once; how many run.
pub fn start() -> usize {
    copy_trampoline();
    while RUNNING.load(Ordering::SeqCst) < MOST && start_next() {}
    RUNNING.load(Ordering::SeqCst)
}

fn copy_trampoline() {
    let (first, last) = ((&raw const trampoline_start).addr(), (&raw const trampoline_end).addr());
    let code = memory::firmware(first as u64, last - first).unwrap_or_default();
    for (to, from) in memory::bytes(pviommu_hypervisor::addr::Mfn(TRAMPOLINE)).iter().zip(code) {
        to.store(*from, Ordering::SeqCst);
    }
}

/// Starts the processor with the next number, which is its APIC's, too; false if there is none.
fn start_next() -> bool {
    const COMMAND: usize = 0x300;
    const TARGET: usize = 0x310;
    const INIT: u32 = 0x4500;
    const START: u32 = 0x4600;
    let number = RUNNING.load(Ordering::SeqCst);
    let Some(apic) = mmio(LOCAL_APIC, PAGE) else { return false };
    // For ever, also if it does not come: it may come late.
    let stack = FREE.place(STACK_PAGES, |_| [0u64; PAGE / 8]).as_ptr_range();
    // SAFETY: the assembly defines it, as 8 bytes that are used as a whole.
    unsafe { &processor_stack }.store(stack.end.addr() as u64, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { &processor_number }.store(number as u64, Ordering::SeqCst);
    let send = |command: u32| {
        apic.write32(TARGET, (number as u32) << 24);
        apic.write32(COMMAND, command);
    };
    let runs = || RUNNING.load(Ordering::SeqCst) > number;
    send(INIT);
    clock::wait(10_000, || false);
    send(START | TRAMPOLINE as u32);
    clock::wait(100_000, runs)
}

/// Runs `one` here and `other` on processor `number`, and comes back when both are done.
///
/// # Panics
/// If it does not run.
pub fn both(number: usize, other: &(dyn Fn() + Sync), one: impl FnOnce()) {
    assert!(number > 0 && number < RUNNING.load(Ordering::SeqCst), "no processor {number}");
    let place = WORK.get(number).expect("it runs");
    // SAFETY: it is used until the place is empty again, and this function does not return before.
    let work = unsafe { mem::transmute::<&(dyn Fn() + Sync), Work>(other) };
    *place.lock() = Some(work);
    one();
    while place.lock().is_some() {
        core::hint::spin_loop();
    }
}
