//! Entries of the event log: 128 bits each, section 2.5.
//!
//! ```text
//!  word 0: device id (15:0), domain id (47:32), flags (59:48), code (63:60);   word 1: address
//!  flags:  GN (48), I (51), PR (52), RW (53), PE (54), RZ (55), TR (56), type (59:57)
//! ```
//!
//! Of what went wrong inside the unit only the code is told: the addresses there are the machine's, which are
//! no guest's business.

use pviommu_abi::{FaultReason, PciDevice};

use crate::{
    machine::Fault,
    platform::{Access, SourceId},
    unit::Event,
};

/// The codes that are told apart.
mod code {
    pub(super) const ILLEGAL_DEV_TABLE_ENTRY: u32 = 1;
    pub(super) const IO_PAGE_FAULT: u32 = 2;
    pub(super) const INVALID_DEVICE_REQUEST: u32 = 8;
}

const INTERRUPT: u64 = 1 << 51;
const PRESENT: u64 = 1 << 52;
const WRITES: u64 = 1 << 53;
const DENIED: u64 = 1 << 54;
const RESERVED_BITS: u64 = 1 << 55;
const TRANSLATION: u64 = 1 << 56;

/// The code of an entry: 0 as long as the unit has not written it.
pub(super) fn code(first: u64) -> u32 {
    u32::try_from(first >> 60).unwrap_or(0)
}

/// What an entry tells, of a unit of this segment.
pub(super) fn decode([first, address]: [u64; 2], segment: u16) -> Event {
    let has = |flag: u64| first & flag != 0;
    let access = if has(WRITES) { Access::WRITE } else { Access::READ };
    let (reason, access) = match code(first) {
        code::IO_PAGE_FAULT => (page_fault(first), access),
        // An entry that cannot be, or that would be beyond the end of the table.
        code::ILLEGAL_DEV_TABLE_ENTRY => (FaultReason::TABLE_ERROR, access),
        code::INVALID_DEVICE_REQUEST => invalid_request(first),
        other => return Event::Unit(other),
    };
    let [.., bus, devfn] = first.to_be_bytes();
    let source = SourceId(PciDevice { seg: segment, bus, devfn });
    Event::Fault(Fault { source, address, access, reason })
}

fn page_fault(first: u64) -> FaultReason {
    let has = |flag: u64| first & flag != 0;
    let domain = first >> 32 & 0xffff;
    if has(INTERRUPT) {
        FaultReason::INTERRUPT_DENIED
    } else if has(TRANSLATION) {
        FaultReason::TRANSLATED_REQUEST
    } else if domain == 0 {
        // No context has tag 0: it is what blocked entries have.
        FaultReason::BLOCKED
    } else if !has(PRESENT) {
        FaultReason::NOT_MAPPED
    } else if has(RESERVED_BITS) {
        FaultReason::TABLE_ERROR
    } else if !has(DENIED) {
        FaultReason::OTHER
    } else if has(WRITES) {
        FaultReason::WRITE_DENIED
    } else {
        FaultReason::READ_DENIED
    }
}

/// By the type of INVALID_DEVICE_REQUEST (section 2.5.9): 0, 5 and 6 are of the range of interrupts, 1 is
/// a translated request and 7 a request for a translation, of a device without the right to those; the others
/// are of ports and of system management.
fn invalid_request(first: u64) -> (FaultReason, Access) {
    let reason = match first >> 57 & 7 {
        0 | 5 | 6 => FaultReason::INTERRUPT_DENIED,
        1 | 7 => FaultReason::TRANSLATED_REQUEST,
        _ if first & TRANSLATION != 0 => FaultReason::TRANSLATED_REQUEST,
        _ => FaultReason::OTHER,
    };
    let access = match first >> 57 & 7 {
        3 | 5 | 6 => Access::WRITE,
        _ => Access::READ,
    };
    (reason, access)
}
