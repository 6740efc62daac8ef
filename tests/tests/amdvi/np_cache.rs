//! Units that cache what is not present (NpCache): they are told by the command that invalidates.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Invalidation, UnitFacts, UnitFeatures},
    unit::amdvi::command as service,
};
use pviommu_testbed::{
    iommu::FaultReason,
    machine::{UnitKind, amd_facts},
};

use crate::kit::{RAM, TAG, attached, bfns, memory, table, violations, write};

const ABSENT: Result<u64, FaultReason> = Err(FaultReason::NotPresent);

fn np_cache() -> UnitFacts {
    let facts = amd_facts();
    UnitFacts { features: facts.features | UnitFeatures::CACHES_NOT_PRESENT, ..facts }
}

#[test]
fn what_was_absent_stays_absent_only_where_the_unit_says_so() {
    for (facts, expected) in [(amd_facts(), Ok(RAM)), (np_cache(), ABSENT)] {
        let memory = memory();
        let table = table(UnitKind::AmdVi, &memory);
        let unit = attached(facts, &memory, &table);
        assert_eq!(write(&unit, &memory, 7), ABSENT);
        table.map(7, 1, Mfn(RAM));
        assert_eq!(write(&unit, &memory, 7), expected);
        unit.execute(&memory, service::invalidate(TAG, Invalidation::Tables(bfns(7, 1))));
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
        assert_eq!(violations(&memory), []);
    }
}

/// Without PDE the unit forgets that leaves were absent, and not that the way to them was.
#[test]
fn an_upper_entry_that_was_absent_hides_its_span_until_a_command_with_pde() {
    let memory = memory();
    let table = table(UnitKind::AmdVi, &memory);
    table.map(0, 1, Mfn(RAM));
    let unit = attached(np_cache(), &memory, &table);
    assert_eq!((write(&unit, &memory, 1), write(&unit, &memory, 0x4_0000)), (ABSENT, ABSENT));
    table.map(1, 1, Mfn(RAM + 1));
    table.map(0x4_0005, 1, Mfn(RAM + 2));
    for what in [Invalidation::Leaves(bfns(1, 1)), Invalidation::Leaves(bfns(0x4_0005, 1))] {
        unit.execute(&memory, service::invalidate(TAG, what));
    }
    assert_eq!(write(&unit, &memory, 1), Ok(RAM + 1));
    assert_eq!(write(&unit, &memory, 0x4_0005), ABSENT);
    unit.execute(&memory, service::invalidate(TAG, Invalidation::Tables(bfns(0x4_0005, 1))));
    assert_eq!(write(&unit, &memory, 0x4_0005), Ok(RAM + 2));
}
