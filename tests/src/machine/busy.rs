//! Devices that do DMA from threads of their own while something else runs.

use std::sync::atomic::{AtomicBool, Ordering};

use pviommu_abi::PciDevice;

use super::{bed::Bed, frames::PAGE_SIZE, harsh::Dice};

/// Bytes of one access.
const BYTES: usize = 16;

/// What a busy device did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Busy {
    /// Accesses tried.
    pub accesses: u64,
    /// Those that went through.
    pub hits: u64,
    /// Those that were refused.
    pub faults: u64,
}

/// Ends the devices' threads, also when the body panics.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Bed<'_> {
    /// Calls `body` while each of `devices` reads and writes, from a thread of its own, around the
    /// bus frames that are named with it. Returns what `body` returns, and what each device did.
    ///
    /// What a device writes is of no use to anybody, so these bus frames should lead to nothing
    /// that matters.
    pub fn with_busy_devices<R>(
        &self,
        devices: &[(PciDevice, Vec<u64>)],
        body: impl FnOnce() -> R,
    ) -> (R, Vec<Busy>) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = devices
                .iter()
                .zip(1..)
                .map(|((device, bfns), seed)| {
                    let (done, dice) = (&done, Dice::new(self.board().seed() ^ seed << 32));
                    scope.spawn(move || self.keep_busy(*device, bfns, dice, done))
                })
                .collect();
            let ended = Ended(&done);
            let result = body();
            drop(ended);
            let join = |thread: std::thread::ScopedJoinHandle<'_, Busy>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            (result, threads.into_iter().map(join).collect())
        })
    }

    /// At least one access, then on until `done`.
    fn keep_busy(
        &self,
        device: PciDevice,
        bfns: &[u64],
        mut dice: Dice,
        done: &AtomicBool,
    ) -> Busy {
        let mut busy = Busy::default();
        if bfns.is_empty() {
            return busy;
        }
        loop {
            let bfn = bfns[dice.below(bfns.len())];
            let bfn = match dice.below(8) {
                0 => bfn.wrapping_add(1),
                1 => bfn.wrapping_sub(1),
                _ => bfn,
            };
            let offset = dice.below(PAGE_SIZE - BYTES) as u64;
            let address = (bfn << 12) + offset;
            let result = if dice.once_in(2) {
                self.dma_write(device, address, &[0xdb; BYTES])
            } else {
                self.dma_read(device, address, &mut [0; BYTES])
            };
            busy.accesses += 1;
            match result {
                Ok(()) => busy.hits += 1,
                Err(_) => busy.faults += 1,
            }
            if done.load(Ordering::Relaxed) {
                return busy;
            }
            // A unit's lock is not fair, and the service needs it, too.
            if busy.accesses % 16 == 0 {
                std::thread::yield_now();
            }
        }
    }
}
