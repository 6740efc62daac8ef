//! Addresses that are no memory: those of interrupts on both makes, those of HyperTransport on one.

use pviommu_abi::DomId;
use pviommu_hypervisor::addr::Mfn;
use pviommu_testbed::{
    iommu::{FaultReason, holes::HYPERTRANSPORT},
    machine::{Reach, UnitKind, Violation, memory::Memory},
};

use crate::kit::{DEVICE, RAM, UNIT, attached, memory, read, table, violations, write};

const EDGES: [u64; 2] = [0xfd0_0000, 0xfff_ffff];
const BESIDE: [u64; 2] = [0xfcf_ffff, 0x1000_0000];

#[test]
fn the_hole_of_hypertransport_is_3_times_4_gib_below_1_tib() {
    assert_eq!([*HYPERTRANSPORT.start(), *HYPERTRANSPORT.end()], EDGES);
    assert_eq!((EDGES[1] + 1) << 12, 1 << 40);
    assert_eq!((EDGES[1] + 1 - EDGES[0]) << 12, 12 << 30);
}

#[test]
fn requests_in_the_hole_are_not_translated_by_units_that_have_one() {
    for kind in UnitKind::ALL {
        let memory = memory();
        let table = table(kind, &memory);
        EDGES.into_iter().chain(BESIDE).for_each(|bfn| table.map(bfn, 1, Mfn(RAM)));
        let unit = attached(kind.facts(), &memory, &table);
        for bfn in EDGES {
            let expected = match kind {
                UnitKind::Vtd => Ok(RAM),
                UnitKind::AmdVi => Err(FaultReason::Hole),
            };
            assert_eq!(write(&unit, &memory, bfn), expected);
            assert_eq!(unit.prefetch(&memory, DEVICE, bfn << 12), expected.is_ok());
        }
        for bfn in BESIDE {
            assert_eq!(write(&unit, &memory, bfn), Ok(RAM));
        }
        assert_eq!(write(&unit, &memory, 0xfee00), Err(FaultReason::Interrupt));
        assert_eq!(violations(&memory), []);
    }
}

/// An oracle: seen to fire. Whatever the machine has there.
#[test]
fn a_translation_into_the_hole_is_seen() {
    for kind in UnitKind::ALL {
        for (place, frame) in [EDGES[0], EDGES[1], BESIDE[1]].into_iter().enumerate() {
            let mut memory = Memory::bare(Mfn(0x1000), 16);
            memory.frames.add_ram(Mfn(frame), 1, 1);
            memory.frames.acquire(Mfn(frame), DomId(1), true).unwrap();
            let table = table(kind, &memory);
            table.map(7, 1, Mfn(frame));
            let unit = attached(kind.facts(), &memory, &table);
            if kind == UnitKind::Vtd || place == 2 {
                assert_eq!(read(&unit, &memory, 7), Ok(()));
                assert_eq!(violations(&memory), []);
                continue;
            }
            assert_eq!(read(&unit, &memory, 7), Err(FaultReason::Stopped));
            let (device, address, frame) = (DEVICE, 7 << 12, Mfn(frame));
            let reach = Reach::Forbidden;
            let seen = Violation::Access { unit: UNIT, device, address, frame, reach };
            assert_eq!(violations(&memory), [seen]);
        }
    }
}
