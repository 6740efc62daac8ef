//! Fault records: section 7.2.1.

use super::{
    act::Act,
    register::status::{PFO, PPF},
    state::State,
};

const F: u64 = 1 << 63;

/// The records of a unit.
pub(super) struct Records {
    records: Vec<[u64; 2]>,
    next: usize,
    first: usize,
    overflow: bool,
}

impl Records {
    pub(super) fn new(number: usize) -> Self {
        Self { records: vec![[0; 2]; number], next: 0, first: 0, overflow: false }
    }

    fn pending(&self) -> bool {
        self.records.iter().any(|[_, high]| high & F != 0)
    }

    /// PFO, PPF and FRI.
    pub(super) fn status(&self) -> u32 {
        let pending = if self.pending() { PPF | (self.first as u32) << 8 } else { 0 };
        pending | if self.overflow { PFO } else { 0 }
    }

    pub(super) fn clear_overflow(&mut self) {
        self.overflow = false;
    }

    /// The half of a record at this offset from the first.
    pub(super) fn read(&self, offset: usize) -> Option<u64> {
        Some(self.records.get(offset / 16)?[offset % 16 / 8])
    }

    /// A one clears F; nothing else can be written.
    pub(super) fn write(&mut self, offset: usize, value: u64) {
        if let Some(record) = self.records.get_mut(offset / 16)
            && offset % 16 == 8
            && value & F != 0
        {
            record[1] &= !F;
        }
    }

    /// Records a fault; true if it is the first.
    fn record(&mut self, record: [u64; 2]) -> bool {
        let source = |[_, high]: [u64; 2]| high & 0xffff;
        let same = |it: &[u64; 2]| it[1] & F != 0 && source(*it) == source(record);
        if self.overflow || self.records.iter().any(same) {
            return false;
        }
        if self.records[self.next][1] & F != 0 {
            self.overflow = true;
            return false;
        }
        let first = !self.pending();
        if first {
            self.first = self.next;
        }
        self.records[self.next] = [record[0], record[1] | F];
        self.next = (self.next + 1) % self.records.len();
        first
    }
}

impl State {
    /// Records a request that was refused, and sends the interrupt.
    pub(super) fn refuse(&mut self, source: u16, address: u64, write: bool, reason: u8) {
        let kind = if write { 0 } else { 1 << 62 };
        let high = kind | u64::from(reason) << 32 | u64::from(source);
        if self.records.record([address & !0xfff, high]) && self.fault_control >> 31 == 0 {
            let [data, low, upper] = self.fault_message;
            let address = u64::from(upper) << 32 | u64::from(low);
            self.acts.push(Act::Message(address, data));
        }
    }
}
