//! The event log: a ring that the unit writes and we read (section 2.5).
//!
//! An entry may show after the tail that announces it (errata 732 and 733), so its code is waited for, and an
//! entry is zeroed once it was read. A log that was full has stopped, and is started again when all of it was
//! read.
//!
//! Read by one CPU at a time.

use super::{
    command_buffer::ring_of,
    event,
    patience::Patience,
    registers::{Control, Registers, Ring, Status},
};
use crate::{
    platform::{Host, UnitMemory},
    sync::{AtomicU64, Ordering},
    unit::Event,
};

pub(super) struct EventLog<'m> {
    memory: UnitMemory<'m>,
    /// The entry that is read next.
    head: AtomicU64,
    segment: u16,
    host: &'m dyn Host,
    patience_us: u64,
}

/// Longest wait for an entry that was announced, and for a log that is to rest, in microseconds.
const PATIENCE_US: u64 = 1000;
/// How often is looked again after the interrupt was allowed to come again: an event may have come just
/// before, and the bit may be set although that was written (ERBT1312).
const LOOKS: usize = 8;

impl<'m> EventLog<'m> {
    /// `memory` has a power of two of pages.
    pub(super) fn new(
        memory: UnitMemory<'m>,
        segment: u16,
        (host, timeout_us): (&'m dyn Host, u64),
    ) -> Self {
        let patience_us = timeout_us.min(PATIENCE_US);
        Self { memory, head: AtomicU64::new(0), segment, host, patience_us }
    }

    /// The ring, as the unit is told of it.
    pub(super) fn ring(&self) -> Ring {
        ring_of(self.memory)
    }

    /// Empty, before the unit is shown it, or while it rests.
    pub(super) fn clear(&self) {
        for word in self.memory.words() {
            word.store(0, Ordering::Relaxed);
        }
        self.head.store(0, Ordering::Relaxed);
    }

    /// The oldest event. `control` is what the control register has.
    pub(super) fn next(&self, registers: Registers<'_>, control: Control) -> Option<Event> {
        for _ in 0..LOOKS {
            let head = usize::try_from(self.head.load(Ordering::Relaxed)).ok()?;
            let tail = registers.event_tail().filter(|tail| *tail < self.entries())?;
            if head != tail {
                return Some(self.take(registers, head));
            }
            let status = registers.status();
            if status.contains(Status::OVERFLOW) {
                return self.restart(registers, control).then_some(Event::Lost);
            }
            if !status.contains(Status::EVENT) {
                return None;
            }
            registers.clear_status(Status::EVENT);
        }
        None
    }

    /// Reads the entry `head` and gives it back to the unit.
    fn take(&self, registers: Registers<'_>, head: usize) -> Event {
        let first = head.saturating_mul(2);
        let second = first.saturating_add(1);
        let patience = Patience::new(self.host, self.patience_us);
        let there = patience.until(|| event::code(self.memory.load(first)) != 0);
        let words = [self.memory.load(first), self.memory.load(second)];
        self.memory.store(first, 0);
        self.memory.store(second, 0);
        let next = head.saturating_add(1).checked_rem(self.entries()).unwrap_or(0);
        self.head.store(next as u64, Ordering::Relaxed);
        registers.set_event_head(next);
        match there {
            Ok(()) => event::decode(words, self.segment),
            // It was announced and never came.
            Err(_) => Event::Lost,
        }
    }

    /// Starts a log again that was full and is empty now: section 2.5.1. False if it does not do as it is told.
    fn restart(&self, registers: Registers<'_>, control: Control) -> bool {
        registers.set_control(control - Control::EVENT_LOG);
        let patience = Patience::new(self.host, self.patience_us);
        let rests = || !registers.status().contains(Status::EVENT_LOG_RUNS);
        if patience.until(rests).is_err() {
            return false;
        }
        registers.clear_status(Status::OVERFLOW | Status::EVENT);
        registers.empty_event_log();
        self.head.store(0, Ordering::Relaxed);
        registers.set_control(control);
        // Who asks until there is nothing more must come to an end.
        !registers.status().contains(Status::OVERFLOW)
    }

    fn entries(&self) -> usize {
        self.memory.words().len() / 2
    }
}
