//! Machines of either make.

use pviommu_abi::{Bfn, DomId, Gfn};
use pviommu_hypervisor::{
    addr::{BfnRange, GfnRange},
    format::FormatKind,
    platform::TableShape,
};
use pviommu_testbed::{
    iommu::holes::HYPERTRANSPORT,
    machine::{
        Board, Config, DomainConfig, UnitKind, amd_facts, poor_amd_facts, poor_facts, vtd_facts,
    },
};

#[test]
fn every_unit_of_a_machine_is_replaced_by_one_of_the_other_make() {
    let shape = TableShape { format: FormatKind::VtdSecondStage, levels: 4 };
    let vtd = Config { tables: Some(shape), ..Config::unlike_pair(16) };
    let amd = vtd.clone().on(UnitKind::AmdVi);
    assert_eq!(amd.units, [amd_facts(), poor_amd_facts()]);
    assert_eq!(amd.tables, Some(TableShape { format: FormatKind::AmdV1, ..shape }));
    let back = amd.on(UnitKind::Vtd);
    assert_eq!(back.units, [vtd_facts(), poor_facts()]);
    assert_eq!(back.tables, Some(shape));
    assert_eq!(vtd.units, back.units);
}

#[test]
fn a_machine_reserves_what_its_units_do_not_translate() {
    let interrupts = BfnRange::new(Bfn(0xfee00), Bfn(0xfeeff)).unwrap();
    let hole = BfnRange::new(Bfn(0xfd0_0000), Bfn(0xfff_ffff)).unwrap();
    let reserved = |kind| {
        let config = Config::default().on(kind);
        config.reserved_by_machine().iter().map(|it| it.range).collect::<Vec<_>>()
    };
    assert_eq!(reserved(UnitKind::Vtd), [interrupts]);
    assert_eq!(reserved(UnitKind::AmdVi), [interrupts, hole]);
}

/// Guests as large as that are not simulated page by page; what lies where is known all the same.
#[test]
fn no_memory_lies_in_the_hole() {
    let gib = 1 << 18;
    let block = |first: u64, gibs: u64| GfnRange::of_pages(Gfn(first * gib), gibs * gib).unwrap();
    let domain = DomainConfig {
        ram: vec![block(0, 4), block(16, 2000)],
        contiguous: (16..2016).map(|first| block(first, 1)).collect(),
        ..DomainConfig::default()
    };
    let board = Board::new(&Config { domains: vec![domain], ..Config::default() });
    let frame = |gfn: u64| board.machine_frame(DomId(1), Gfn(gfn)).unwrap().0;
    let frames: Vec<u64> =
        (16..2016).flat_map(|at| [frame(at * gib), frame((at + 1) * gib - 1)]).collect();
    assert!(frames.iter().all(|frame| !HYPERTRANSPORT.contains(frame)));
    assert!(frames.iter().any(|frame| frame < HYPERTRANSPORT.start()));
    assert!(frames.iter().any(|frame| frame > HYPERTRANSPORT.end()));
}
