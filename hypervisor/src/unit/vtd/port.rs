//! The registers of the invalidation queue, and what becomes of its errors (sections 6.5.2 and 11.4.9).
//!
//! Three errors stop a queue without anything being lost, and it goes on here:
//!
//! * *Completion error*: a device confirmed what nobody asked it for. It is cleared.
//! * *Time-out error*: a device did not confirm in time, so the unit has dropped all waits it had
//!   fetched. It is cleared, and who waits submits again.
//! * *Queue error*: the unit does not take the entry at its head. In its place comes one that forgets more
//!   than what was asked for, so who waits for it is told no lie. If that is not taken, either, the
//!   unit has failed.
//!
//! Each is noted for the operator. Who finds an error recovers from it, and nobody waits for that.

use crate::{
    platform::{RegisterBlock, UnitError, UnitMemory},
    sync::{AtomicU64, Mutex, Ordering, full_fence},
    unit::{
        Command,
        queue::Registers,
        vtd::{
            descriptor::{self, Drains},
            registers::{self, FaultStatus},
        },
    },
};

/// What all who use the queue share.
pub(super) struct Recovery {
    /// Held by who recovers.
    busy: Mutex<()>,
    /// How often waits were dropped.
    dropped: AtomicU64,
    /// Errors that the operator was not told of, as bits of FSTS.
    seen: AtomicU64,
}

impl Recovery {
    pub(super) fn new() -> Self {
        let (dropped, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { busy: Mutex::new(()), dropped, seen }
    }

    /// Errors of the queue since this was last asked, as bits of FSTS.
    pub(super) fn take_seen(&self) -> u32 {
        // No more than 32 bits were put there.
        self.seen.swap(0, Ordering::Relaxed) as u32
    }
}

/// The queue's registers.
pub(super) struct Port<'a, 'm, R> {
    pub(super) registers: &'a R,
    pub(super) recovery: &'a Recovery,
    pub(super) ring: UnitMemory<'m>,
    /// Where the unit finds the status words.
    pub(super) status: u64,
    pub(super) drains: Drains,
}

impl<R: RegisterBlock> Port<'_, '_, R> {
    /// Recovers from what has stopped the queue.
    ///
    /// # Errors
    /// [`UnitError`]: it stays stopped, or the unit is gone.
    pub(super) fn recover(&self) -> Result<(), UnitError> {
        if self.errors()?.is_empty() {
            return Ok(());
        }
        // Somebody else recovers: the queue is as good as stopped by nothing.
        let Some(_busy) = self.recovery.busy.try_lock() else { return Ok(()) };
        let errors = self.errors()?;
        self.recovery.seen.fetch_or(u64::from(errors.bits()), Ordering::Relaxed);
        if errors.contains(FaultStatus::QUEUE_ERROR) {
            self.replace_head()?;
        }
        if errors.contains(FaultStatus::TIME_OUT) {
            // Before the unit goes on: none of the waits that it takes from now on is meant.
            self.recovery.dropped.fetch_add(1, Ordering::SeqCst);
        }
        self.registers.write32(registers::FAULT_STATUS, errors.bits());
        Ok(())
    }

    fn errors(&self) -> Result<FaultStatus, UnitError> {
        match self.registers.read32(registers::FAULT_STATUS) {
            u32::MAX => Err(UnitError),
            status => Ok(FaultStatus::from_bits_retain(status).intersection(FaultStatus::QUEUE)),
        }
    }

    /// Puts something that the unit may take where it stands.
    fn replace_head(&self) -> Result<(), UnitError> {
        let low = self.raw_head()?.checked_mul(2).ok_or(UnitError)?;
        let high = low.checked_add(1).ok_or(UnitError)?;
        let refused = [self.ring.load(low), self.ring.load(high)];
        if descriptor::is_wait(refused) {
            // Nothing does instead. It is well formed, so it is fetched once more, as long as anyone waits.
            return Ok(());
        }
        let [first, second] = self.drains.instead_of(refused).ok_or(UnitError)?;
        self.ring.store(low, first);
        self.ring.store(high, second);
        full_fence();
        Ok(())
    }

    fn raw_head(&self) -> Result<usize, UnitError> {
        match self.registers.read64(registers::QUEUE_HEAD) {
            u64::MAX => Err(UnitError),
            head => usize::try_from(head >> registers::QUEUE_ENTRY_SHIFT).map_err(|_| UnitError),
        }
    }
}

impl<R: RegisterBlock> Registers for Port<'_, '_, R> {
    fn head(&self) -> Result<usize, UnitError> {
        self.recover()?;
        self.raw_head()
    }

    fn set_tail(&self, entry: usize) {
        let tail = u64::try_from(entry).unwrap_or(0) << registers::QUEUE_ENTRY_SHIFT;
        self.registers.write64(registers::QUEUE_TAIL, tail);
    }

    fn wait_command(&self, status: usize, cookie: u32) -> Command {
        // Status words are within memory that is there.
        let offset = u64::try_from(status).unwrap_or(0).saturating_mul(8);
        descriptor::wait(self.status.saturating_add(offset), cookie)
    }

    fn dropped_waits(&self) -> u64 {
        self.recovery.dropped.load(Ordering::SeqCst)
    }
}
