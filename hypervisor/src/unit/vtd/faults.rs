//! Fault records: sections 7.1 and 11.4.7.
//!
//! A unit has a few records, and fills them in turn. While one is full, further faults of the same
//! source are not recorded beside it; when all are full, faults are lost and PFO says so. So records are
//! taken out first and PFO is cleared after that, or nothing more would be recorded.

use pviommu_abi::{FaultReason, PciDevice};

use crate::{
    machine::Fault,
    platform::{Access, RegisterBlock, SourceId},
    sync::{AtomicU64, Ordering},
    unit::{
        Event,
        vtd::registers::{self, FaultStatus},
    },
};

/// F: the record is full; a one empties it.
const FULL: u64 = 1 << 63;
/// T1: a read or an atomic operation.
const READ: u64 = 1 << 62;
/// T2: an atomic operation, or a request for a page.
const NOT_PLAIN: u64 = 1 << 28;
const REASON_SHIFT: u32 = 32;
const PAGE: u64 = !0xfff;
/// What is said of an interrupt that was refused: the record has its number, not its address.
const INTERRUPT_ADDRESS: u64 = 0xfee0_0000;

/// The records of a unit.
pub(super) struct Records {
    offset: usize,
    number: usize,
    /// The one to look at first: the unit fills them in turn.
    next: AtomicU64,
}

impl Records {
    pub(super) fn new((offset, number): (usize, usize)) -> Self {
        Self { offset, number, next: AtomicU64::new(0) }
    }

    /// Takes the oldest record, or the word that some were lost.
    pub(super) fn take(&self, registers: &impl RegisterBlock, segment: u16) -> Option<Event> {
        let status = registers.read32(registers::FAULT_STATUS);
        if status == u32::MAX {
            return None;
        }
        let flags = FaultStatus::from_bits_retain(status);
        if flags.contains(FaultStatus::PENDING) {
            let first = status >> FaultStatus::FIRST_RECORD_SHIFT & FaultStatus::FIRST_RECORD;
            let next = usize::try_from(self.next.load(Ordering::Relaxed)).unwrap_or(0);
            // In turn from where the last one was; if nothing is there, from where the unit says.
            let from = if self.high(registers, next).1 & FULL != 0 { next } else { first as usize };
            if let Some(record) = self.take_from(registers, from) {
                return Some(Event::Fault(fault(record, segment)));
            }
        }
        if flags.contains(FaultStatus::OVERFLOW) {
            registers.write32(registers::FAULT_STATUS, FaultStatus::OVERFLOW.bits());
            return Some(Event::Lost);
        }
        None
    }

    /// Empties all of them: what is in there is of a time before.
    pub(super) fn clear(&self, registers: &impl RegisterBlock) {
        for _ in 0..self.number {
            if self.take_from(registers, 0).is_none() {
                break;
            }
        }
        let errors = FaultStatus::OVERFLOW.union(FaultStatus::QUEUE);
        registers.write32(registers::FAULT_STATUS, errors.bits());
    }

    /// The first full one, in turn from `from` on, which is emptied.
    fn take_from(&self, registers: &impl RegisterBlock, from: usize) -> Option<[u64; 2]> {
        let mut number = from;
        for _ in 0..self.number {
            let (at, high) = self.high(registers, number);
            number = at.saturating_add(1);
            if high & FULL != 0 && high != u64::MAX {
                let low = registers.read64(self.low_offset(at));
                registers.write64(self.low_offset(at).saturating_add(8), FULL);
                self.next.store(u64::try_from(number).unwrap_or(0), Ordering::Relaxed);
                return Some([low, high]);
            }
        }
        None
    }

    /// The high half of record `number`, counted round; and its number.
    fn high(&self, registers: &impl RegisterBlock, number: usize) -> (usize, u64) {
        let number = number.checked_rem(self.number).unwrap_or(0);
        (number, registers.read64(self.low_offset(number).saturating_add(8)))
    }

    fn low_offset(&self, number: usize) -> usize {
        self.offset.saturating_add(number.saturating_mul(16))
    }
}

/// What a record says.
fn fault([low, high]: [u64; 2], segment: u16) -> Fault {
    let source = high as u16;
    let device = PciDevice { seg: segment, bus: (source >> 8) as u8, devfn: source as u8 };
    let access = match (high & READ != 0, high & NOT_PLAIN != 0) {
        (true, true) => Access::READ | Access::WRITE,
        (true, false) | (false, true) => Access::READ,
        (false, false) => Access::WRITE,
    };
    let reason = (high >> REASON_SHIFT) as u8;
    let interrupt = matches!(reason, 0x20..=0x2f);
    let address = if interrupt { INTERRUPT_ADDRESS } else { low & PAGE };
    Fault { source: SourceId(device), address, access, reason: reason_of(reason) }
}

/// The reasons of legacy mode: section 7.1.3.
///
/// Of a read or write that no entry permits (5 and 6) the unit does not tell whether there is none or one
/// that permits something else. The first is by far the usual case, and what is said.
const fn reason_of(code: u8) -> FaultReason {
    match code {
        // No root entry; no context entry.
        0x1 | 0x2 => FaultReason::BLOCKED,
        0x4 => FaultReason::ABOVE_APERTURE,
        0x5 | 0x6 => FaultReason::NOT_MAPPED,
        // A context entry that makes no sense; a table that cannot be read; reserved bits.
        0x3 | 0x7..=0xc => FaultReason::TABLE_ERROR,
        // A request that says that it was translated, or asks for a translation.
        0xd => FaultReason::TRANSLATED_REQUEST,
        // The entry cannot be read or makes no sense; so for the descriptor that it names.
        0x23 | 0x24 | 0x27 | 0x28 => FaultReason::TABLE_ERROR,
        0x20..=0x2f => FaultReason::INTERRUPT_DENIED,
        _ => FaultReason::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden words, put together by hand from section 11.4.7.
    #[test]
    fn a_record_names_source_address_access_and_reason() {
        let found = fault([0x1234_5fff, 1 << 63 | 1 << 62 | 6 << 32 | 0x0310], 7);
        let device = PciDevice { seg: 7, bus: 3, devfn: 0x10 };
        let (address, access) = (0x1234_5000, Access::READ);
        let reason = FaultReason::NOT_MAPPED;
        assert_eq!(found, Fault { source: SourceId(device), address, access, reason });
        let write = fault([0, 1 << 63 | 2 << 32], 0);
        assert_eq!((write.access, write.reason), (Access::WRITE, FaultReason::BLOCKED));
        let atomic = fault([0, 1 << 63 | READ | NOT_PLAIN | 5 << 32], 0);
        assert_eq!(atomic.access, Access::READ | Access::WRITE);
        let interrupt = fault([5 << 48, 1 << 63 | 0x22 << 32], 0);
        let told = (interrupt.address, interrupt.reason);
        assert_eq!(told, (0xfee0_0000, FaultReason::INTERRUPT_DENIED));
    }

    #[test]
    fn every_code_has_its_reason() {
        let cases = [
            (0x4, FaultReason::ABOVE_APERTURE),
            (0x3, FaultReason::TABLE_ERROR),
            (0xb, FaultReason::TABLE_ERROR),
            (0xd, FaultReason::TRANSLATED_REQUEST),
            (0x26, FaultReason::INTERRUPT_DENIED),
            (0x23, FaultReason::TABLE_ERROR),
            (0x0, FaultReason::OTHER),
            (0x30, FaultReason::OTHER),
            (0xff, FaultReason::OTHER),
        ];
        for (code, reason) in cases {
            assert_eq!(reason_of(code), reason, "{code:x}");
        }
    }
}
