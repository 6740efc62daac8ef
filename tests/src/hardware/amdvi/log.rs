//! The event log: section 2.5.

use super::{
    State, Unit,
    registers::{address, size, status},
};
use crate::hardware::Ram;

impl Unit {
    /// Something happened that is logged: an entry without its device id.
    pub fn log(&self, id: u16, words: [u64; 2]) {
        self.state().log(&self.ram, id, words);
    }
}

impl State {
    pub(super) fn log(&mut self, ram: &Ram, id: u16, [first, second]: [u64; 2]) {
        if !self.registers.has(status::EVENT_LOG_RUNS) {
            return;
        }
        let tail = self.registers.event_tail;
        let next = (tail + 16) % size(self.registers.events);
        if next == self.registers.event_head {
            // Full: it stops, and says so.
            self.registers.status |= status::OVERFLOW;
            self.registers.status &= !(status::EVENT_LOG_RUNS & !self.deaf);
            return;
        }
        let (at, words) = (address(self.registers.events) + tail, [first | u64::from(id), second]);
        match self.lateness {
            0 => ram.write(at, &words),
            u64::MAX => {}
            // As seen by whoever asks for the time.
            lateness => self.late.push((lateness, at, words)),
        }
        self.registers.event_tail = next;
        self.registers.status |= status::EVENT;
    }

    /// Writes what was late, when it is time for that: each look at the clock makes it less late.
    pub(super) fn deliver(&mut self, ram: &Ram) {
        self.late.retain_mut(|(left, at, words)| {
            *left = left.saturating_sub(1);
            if *left == 0 {
                ram.write(*at, words);
            }
            *left != 0
        });
    }
}
