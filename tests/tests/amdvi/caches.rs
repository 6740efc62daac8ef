//! What is given up while a unit keeps it, on either make.

use pviommu_hypervisor::{addr::Mfn, platform::Invalidation};
use pviommu_testbed::{
    iommu::FaultReason,
    machine::{UnitKind, Violation},
};

use crate::kit::{DEVICE, RAM, TAG, UNIT, attached, bfns, memory, table, violations, write};

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
        memory.frames.release(Mfn(RAM), pviommu_abi::DomId(1), true).unwrap();
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
