//! What units keep, on either make: one table made by hand, one run of the same checks.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Invalidation, Tag, UnitFeatures},
};
use pviommu_testbed::{
    iommu::{FaultReason, Rights},
    machine::{UnitKind, Violation},
};

use crate::kit::{DEVICE, RAM, TAG, UNIT, attached, bfns, memory, table, violations, write};

#[test]
fn a_translation_stays_until_it_is_invalidated() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let table = table(kind, &memory);
        table.map(7, 1, Mfn(RAM));
        let unit = attached(kind.facts(), &memory, &table);
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
        table.set(7, 1, 0);
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
        unit.invalidate(&memory, Tag(4), Invalidation::Everything);
        unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(8, 4)));
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
        unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(6, 2)));
        assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotPresent));
        assert_eq!(violations(&memory), []);
    }
}

#[test]
fn one_page_invalidated_evicts_the_whole_large_page() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let table = table(kind, &memory);
        table.map(0x200, 2, Mfn(RAM));
        let unit = attached(kind.facts(), &memory, &table);
        assert_eq!(write(&unit, &memory, 0x3ff), Ok(RAM + 0x1ff));
        table.set(0x200, 2, 0);
        assert_eq!(write(&unit, &memory, 0x200), Ok(RAM));
        unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(0x300, 1)));
        assert_eq!(write(&unit, &memory, 0x200), Err(FaultReason::NotPresent));
    }
}

#[test]
fn the_permissions_of_the_way_are_cached_with_it() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let table = table(kind, &memory);
        table.map(7, 1, Mfn(RAM));
        table.map(8, 1, Mfn(RAM + 1));
        let leaves = table.table(7, 1);
        table.set(7, 2, table.link(2, leaves, Rights { read: true, write: false }));
        let unit = attached(kind.facts(), &memory, &table);
        assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotWritable));
        table.set(7, 2, table.link(2, leaves, Rights::ALL));
        assert_eq!(write(&unit, &memory, 8), Err(FaultReason::NotWritable));
        unit.invalidate(&memory, TAG, Invalidation::Tables(bfns(8, 1)));
        assert_eq!(write(&unit, &memory, 8), Ok(RAM + 1));
    }
}

#[test]
fn a_unit_that_does_not_snoop_sees_what_was_published() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let mut facts = kind.facts();
        facts.features.remove(UnitFeatures::COHERENT);
        let table = table(kind, &memory);
        table.map(7, 1, Mfn(RAM));
        let unit = attached(facts, &memory, &table);
        for level in 1..=4 {
            assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotPresent));
            memory.tables.publish(table.table(7, level), 0, 511);
        }
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    }
}

/// INV-07 and INV-20: what is given up while it is cached is seen.
#[test]
fn what_is_given_up_too_early_is_seen() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let table = table(kind, &memory);
        table.map(7, 1, Mfn(RAM));
        let unit = attached(kind.facts(), &memory, &table);
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
        let leaves = table.table(7, 1);
        table.set(7, 2, 0);
        unit.check_table_freed(&memory, leaves);
        table.free(leaves);
        memory.frames.release(Mfn(RAM), pviommu_abi::DomId(1)).unwrap();
        unit.invalidate(&memory, TAG, Invalidation::Tables(bfns(7, 1)));
        let (unit, tag, frame) = (UNIT, TAG, Mfn(RAM));
        let expected = [
            Violation::TableFreedWhileNamed { unit, frame: leaves },
            Violation::ReleasedBeforeFlush { unit, tag, bfn: 7, frame },
            Violation::TableFreedBeforeFlush { unit, tag, frame: leaves },
        ];
        assert_eq!(violations(&memory), expected, "{kind}");
    }
}

/// INV-07: the pattern of a freed table is no translation.
#[test]
fn a_walk_through_a_freed_table_is_seen() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let table = table(kind, &memory);
        table.map(7, 1, Mfn(RAM));
        let unit = attached(kind.facts(), &memory, &table);
        let leaves = table.table(7, 1);
        table.free(leaves);
        assert_eq!(write(&unit, &memory, 7), Err(FaultReason::BadTable));
        let walked =
            Violation::WalkedFreeTable { unit: UNIT, tag: TAG, address: 7 << 12, frame: leaves };
        assert_eq!(violations(&memory), [walked]);
        unit.block(DEVICE, true);
        assert_eq!(write(&unit, &memory, 7), Err(FaultReason::Blocked));
    }
}
