//! Entries without PR in which something was left: some units translate by them.

use pviommu_hypervisor::{addr::Mfn, platform::Invalidation};
use pviommu_testbed::{
    iommu::{FaultReason, Rights, handmade::PRESENT},
    machine::{UnitKind, Violation, amd_facts, vtd_facts},
};

use crate::kit::{DEVICE, RAM, TAG, UNIT, attached, memory, table, violations, write};

const ABSENT: Result<u64, FaultReason> = Err(FaultReason::NotPresent);

/// An oracle: seen to fire, at every level, for whoever comes there.
#[test]
fn an_entry_that_only_lost_its_pr_is_seen() {
    for level in 1..=4 {
        let memory = memory();
        let table = table(UnitKind::AmdVi, &memory);
        let unit = attached(amd_facts(), &memory, &table);
        let entry = table.leaf(level, Mfn(RAM), Rights::ALL) & !PRESENT;
        table.set(7, level, entry);
        assert_eq!(violations(&memory), [], "nobody came there");
        let seen = Violation::LeftBehind { unit: UNIT, address: 7 << 12, level, entry };
        assert_eq!(write(&unit, &memory, 7), ABSENT);
        assert_eq!(violations(&memory), [seen]);
        assert!(!unit.prefetch(&memory, DEVICE, 7 << 12));
        assert_eq!(violations(&memory), [seen, seen]);
    }
}

#[test]
fn an_empty_entry_is_no_leftover_and_one_that_is_cached_is_no_entry() {
    let memory = memory();
    let table = table(UnitKind::AmdVi, &memory);
    table.map(7, 1, Mfn(RAM));
    let unit = attached(amd_facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    table.set(7, 1, 0);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.invalidate(&memory, TAG, Invalidation::Everything);
    assert_eq!(write(&unit, &memory, 7), ABSENT);
    assert_eq!(violations(&memory), []);
}

/// There what is left is ignored.
#[test]
fn with_vtd_nothing_is_left_behind() {
    let memory = memory();
    let table = table(UnitKind::Vtd, &memory);
    let unit = attached(vtd_facts(), &memory, &table);
    table.set(7, 1, RAM << 12);
    assert_eq!(write(&unit, &memory, 7), ABSENT);
    assert_eq!(violations(&memory), []);
}
