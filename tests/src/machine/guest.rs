//! A guest's way to the hypercall: its arguments are bytes in its own memory.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use pviommu_abi::{DomId, Subop};
use pviommu_guest::{
    Hypercall,
    hypercall::{set_pointer, set_pointers},
};
use pviommu_hypervisor::Outcome;

use super::{
    board::Board,
    frames::PAGE_SIZE,
    layout::{ARGUMENT_PAGES, argument_frame},
};
use crate::sync::again;

/// Times a call may be continued before it counts as stuck.
const CONTINUATIONS: u32 = 1 << 24;

/// What a call returns that was given up before it was done: no status is like it.
pub const GIVEN_UP: i64 = i64::MIN;

/// What a guest needs of the machine.
pub(crate) trait Port: Sync {
    fn board(&self) -> &Board;
    fn call(&self, domain: DomId, cpu: usize, subop: u64, arg: u64) -> Outcome;
}

/// A guest on one CPU. Two threads must not share one.
pub struct Guest<'b> {
    port: &'b dyn Port,
    domain: DomId,
    cpu: usize,
    calls: AtomicU64,
    entries: AtomicU64,
    nanoseconds: AtomicU64,
    patience: AtomicU64,
}

impl fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, cpu, .. } = self;
        f.debug_struct("Guest").field("domain", domain).field("cpu", cpu).finish_non_exhaustive()
    }
}

impl<'b> Guest<'b> {
    pub(crate) fn new(port: &'b dyn Port, domain: DomId, cpu: usize) -> Self {
        let zero = || AtomicU64::new(0);
        let (calls, entries, nanoseconds) = (zero(), zero(), zero());
        let patience = AtomicU64::new(u64::MAX);
        Self { port, domain, cpu, calls, entries, nanoseconds, patience }
    }

    /// The domain it is.
    #[must_use]
    pub const fn domain(&self) -> DomId {
        self.domain
    }

    /// Hypercalls made, each counted once however often it was continued.
    #[must_use]
    pub fn hypercalls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Entries into the service: hypercalls and their continuations.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Time inside the service, in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        self.nanoseconds.load(Ordering::Relaxed)
    }

    /// From now on gives a call up that is not done after so many entries into the service: its
    /// status is [`GIVEN_UP`].
    pub fn gives_up_after(&self, entries: u32) {
        self.patience.store(u64::from(entries), Ordering::Relaxed);
    }

    /// Where the arguments of this CPU lie: 24 bytes before the end of a page, so that nearly
    /// all of them straddle two pages that are no neighbours in the machine.
    #[must_use]
    pub fn argument_address(&self) -> u64 {
        (argument_frame(self.cpu).0 << 12) + PAGE_SIZE as u64 - 24
    }

    /// Makes the call and continues it until it is done; returns the status.
    ///
    /// # Panics
    /// If it is continued without end.
    pub fn call(&self, subop: u64, arg: u64) -> i64 {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let patience = self.patience.load(Ordering::Relaxed);
        let begin = Instant::now();
        let mut entries = 0;
        let status = loop {
            entries += 1;
            assert!(entries < CONTINUATIONS, "a hypercall makes no progress");
            match self.port.call(self.domain, self.cpu, subop, arg) {
                Outcome::Done(status) => break status,
                _ if u64::from(entries) >= patience => break GIVEN_UP,
                _ => again(),
            }
        };
        let spent = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.entries.fetch_add(u64::from(entries), Ordering::Relaxed);
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        status
    }
}

impl Hypercall for Guest<'_> {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>) -> i64 {
        let board = self.port.board();
        let at = self.argument_address();
        let room = (ARGUMENT_PAGES as usize - 1) * PAGE_SIZE;
        let behind = at + (arg.len() as u64).next_multiple_of(8);
        let buffered = buffer.as_ref().map_or(0, |b| b.len());
        assert!(arg.len() + 8 + buffered <= room, "the arguments of a call are too long");
        if let Some(buffer) = &mut buffer {
            // What is malformed is so on purpose: the service is to see it as it is.
            if set_pointers(subop, arg, buffer, behind).is_err() {
                set_pointer(subop, arg, behind).expect("a buffer for a subop without a pointer");
            }
            board.guest_write(self.domain, behind, buffer).expect("arguments are RAM");
        }
        board.guest_write(self.domain, at, arg).expect("arguments are RAM");
        let status = self.call(u64::from(subop.0), at);
        board.guest_read(self.domain, at, arg).expect("arguments are RAM");
        if let Some(buffer) = buffer {
            board.guest_read(self.domain, behind, buffer).expect("arguments are RAM");
        }
        status
    }
}

impl Hypercall for &Guest<'_> {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        (**self).iommu_op(subop, arg, buffer)
    }
}
