//! What entries of the log mean.

use pviommu_abi::{FaultReason, PciDevice};
use pviommu_hypervisor::{
    Fault,
    platform::{Access, SourceId},
    unit::{Driver, Event, amdvi::Settings},
};

use super::kit::{settings, unit, with};

const PAGE_FAULT: u64 = 2 << 60 | 7 << 32;
const INTERRUPT: u64 = 1 << 51;
const PRESENT: u64 = 1 << 52;
const WRITES: u64 = 1 << 53;
const DENIED: u64 = 1 << 54;
const RESERVED: u64 = 1 << 55;
const TRANSLATION: u64 = 1 << 56;

/// What is told of an entry of device 02:0a.1.
fn told(first: u64) -> Event {
    let unit = unit();
    let driver = with(&unit, &Settings { segment: 5, ..settings() });
    unit.log(0x0251, [first, 0x1234_5678]);
    let event = driver.next_event().unwrap();
    assert_eq!(driver.next_event(), None);
    event
}

fn fault(access: Access, reason: FaultReason) -> Event {
    let source = SourceId(PciDevice::new(5, 2, 10, 1));
    Event::Fault(Fault { source, address: 0x1234_5678, access, reason })
}

#[test]
fn a_page_fault_says_why() {
    let cases = [
        (0, Access::READ, FaultReason::NOT_MAPPED),
        (WRITES, Access::WRITE, FaultReason::NOT_MAPPED),
        (PRESENT | DENIED, Access::READ, FaultReason::READ_DENIED),
        (PRESENT | DENIED | WRITES, Access::WRITE, FaultReason::WRITE_DENIED),
        (PRESENT | RESERVED, Access::READ, FaultReason::TABLE_ERROR),
        (PRESENT, Access::READ, FaultReason::OTHER),
        (PRESENT | DENIED | TRANSLATION, Access::READ, FaultReason::TRANSLATED_REQUEST),
        (INTERRUPT | PRESENT | WRITES, Access::WRITE, FaultReason::INTERRUPT_DENIED),
    ];
    for (flags, access, reason) in cases {
        assert_eq!(told(PAGE_FAULT | flags), fault(access, reason), "{flags:x}");
    }
}

/// Tag 0 is no context's.
#[test]
fn a_page_fault_of_no_domain_is_one_of_a_device_that_is_blocked() {
    let entry = 2 << 60 | PRESENT | DENIED | WRITES;
    assert_eq!(told(entry), fault(Access::WRITE, FaultReason::BLOCKED));
}

#[test]
fn requests_that_no_table_decides_about_are_told_by_their_type() {
    let request = |kind: u64| told(8 << 60 | kind << 57);
    for kind in [0, 5, 6] {
        let access = if kind == 0 { Access::READ } else { Access::WRITE };
        assert_eq!(request(kind), fault(access, FaultReason::INTERRUPT_DENIED), "{kind}");
    }
    for kind in [1, 7] {
        assert_eq!(request(kind), fault(Access::READ, FaultReason::TRANSLATED_REQUEST), "{kind}");
    }
    for kind in [2, 3, 4] {
        let access = if kind == 3 { Access::WRITE } else { Access::READ };
        assert_eq!(request(kind), fault(access, FaultReason::OTHER), "{kind}");
    }
}

/// With addresses of the machine, which are not told.
#[test]
fn what_goes_wrong_in_the_unit_is_told_by_its_code() {
    for code in [3, 4, 5, 6, 7, 9, 10, 11, 12, 15] {
        assert_eq!(told(code << 60), Event::Unit(code as u32));
    }
    assert_eq!(told(1 << 60 | WRITES), fault(Access::WRITE, FaultReason::TABLE_ERROR));
}
