//! What a survey reads out of tables that are written entry by entry.

use std::sync::atomic::Ordering;

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Pool, UnitFacts, UnitFeatures},
};
use pviommu_testbed::iommu::handmade::{HandMade, LARGE, RW};
use pviommu_testbed::machine::{memory::Memory, vtd_facts};
use pviommu_testbed::show::{
    Access, Level, Origin, Page, PageSize, Range, Survey, Target, What, survey,
};

/// The soft bits of a guest's mapping that holds a reference.
const GUEST: u64 = 6 << 52;
const DOMAIN: DomId = DomId(7);

fn memory() -> Memory {
    Memory::bare(Mfn(0x10_0000), 64)
}

fn read(memory: &Memory, table: &HandMade<'_>) -> Survey {
    survey(memory, &vtd_facts(), table.root())
}

fn page(size: PageSize, access: Access) -> What {
    let (origin, target) = (Origin::Guest, Target::Memory);
    What::Page(Page { size, access, origin, target, referenced: true, snoop: false })
}

fn range(first: u64, last: u64, what: What, runs: u64) -> Range {
    Range { first, last, what, runs }
}

fn level(level: u8, own: u64, shared: u64) -> Level {
    Level { level, own, shared }
}

#[test]
fn an_empty_table_is_its_root_and_nothing_else() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    let survey = read(&memory, &table);
    assert_eq!(survey.ranges, []);
    assert_eq!(survey.tables, [level(4, 1, 0), level(3, 0, 0), level(2, 0, 0), level(1, 0, 0)]);
    assert_eq!(survey.frame_bits, 36);
}

#[test]
fn leaves_of_all_sizes_are_found_and_joined_across_tables() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    // The last page of one leaf table and the first of the next.
    table.set(0x1ff, 1, 0x5_5000 | GUEST | RW);
    table.set(0x200, 1, 0x5_6000 | GUEST | RW);
    table.set(0x201, 1, 0x9_9000 | GUEST | 1);
    table.set(0x400, 2, 0x4000_0000 | GUEST | LARGE | RW);
    table.set(0x600, 2, 0x4020_0000 | GUEST | LARGE | RW);
    table.set(3 << 18, 3, 0x8000_0000 | GUEST | LARGE | 2);
    let survey = read(&memory, &table);
    let expected = [
        range(0x1ff, 0x200, page(PageSize::Small, Access::Both), 1),
        range(0x201, 0x201, page(PageSize::Small, Access::Read), 1),
        range(0x400, 0x7ff, page(PageSize::Large, Access::Both), 1),
        range(3 << 18, (4 << 18) - 1, page(PageSize::Huge, Access::Write), 1),
    ];
    assert_eq!(survey.ranges, expected);
    assert_eq!(survey.tables, [level(4, 1, 0), level(3, 1, 0), level(2, 1, 0), level(1, 2, 0)]);
}

#[test]
fn a_table_above_takes_access_away() {
    let memory = memory();
    let table = HandMade::new(&memory, 3);
    table.set(5, 1, 0x5000 | GUEST | RW);
    let below = table.table(5, 1);
    table.set(5, 2, below.0 << 12 | 1);
    let survey = read(&memory, &table);
    assert_eq!(survey.ranges, [range(5, 5, page(PageSize::Small, Access::Read), 1)]);
}

#[test]
fn entries_that_no_unit_accepts_are_told_and_not_followed() {
    let memory = memory();
    let table = HandMade::new(&memory, 3);
    table.set(5, 1, 1 << 62 | RW);
    // A table that is none.
    table.set(0x200, 2, 0x77_7000 | RW);
    let survey = read(&memory, &table);
    let expected = [range(5, 5, What::Broken, 1), range(0x200, 0x3ff, What::Broken, 512)];
    assert_eq!(survey.ranges, expected);
}

/// A table whose background is a scratch page, as deep as it goes, under all of the root.
fn with_background(memory: &Memory, levels: u8) -> (HandMade<'_>, Mfn) {
    let table = HandMade::new(memory, levels);
    let scratch = memory.tables.alloc_scratch(DOMAIN, &memory.violations).unwrap();
    let mut entry = scratch.0 << 12 | RW;
    for _ in 1..levels {
        let shared = memory.tables.alloc(DOMAIN, Pool::Open, &memory.violations).unwrap();
        fill(memory, shared, entry);
        entry = shared.0 << 12 | RW;
    }
    fill(memory, table.root().frame, entry);
    (table, scratch)
}

fn fill(memory: &Memory, table: Mfn, entry: u64) {
    for word in memory.tables.words(table, &memory.violations) {
        word.store(entry, Ordering::Relaxed);
    }
}

#[test]
fn a_background_of_shared_tables_is_one_range_whatever_its_size() {
    for (levels, frame_bits) in [(3, 27), (4, 36), (5, 45)] {
        let memory = memory();
        let (table, _) = with_background(&memory, levels);
        let facts = UnitFacts {
            bus_address_bits: 57,
            features: vtd_facts().features | UnitFeatures::LEVELS_5 | UnitFeatures::LEVELS_3,
            ..vtd_facts()
        };
        let survey = survey(&memory, &facts, table.root());
        let all = (1_u64 << frame_bits) - 1;
        assert_eq!(survey.ranges, [range(0, all, What::Scratch, 1)], "{levels} levels");
        assert_eq!(survey.tables[0], level(levels, 1, 0));
        for below in &survey.tables[1..] {
            assert_eq!((below.own, below.shared), (0, 1), "{below:?} of {levels} levels");
        }
    }
}

#[test]
fn a_page_in_the_background_has_tables_of_its_own() {
    let memory = memory();
    let (table, scratch) = with_background(&memory, 3);
    let background = scratch.0 << 12 | RW;
    // Private tables on the way to page 5, everything else in them background.
    let root = memory.tables.words(table.root().frame, &memory.violations);
    let shared2 = root[0].load(Ordering::Relaxed);
    let shared1 = memory.tables.entry(Mfn(shared2 >> 12), 0, true).unwrap();
    root[0].store(0, Ordering::Relaxed);
    let leaves = table.table(5, 1);
    fill(&memory, table.table(5, 2), shared1);
    table.set(5, 2, leaves.0 << 12 | RW);
    fill(&memory, leaves, background);
    table.set(5, 1, 0x5000 | GUEST | RW);
    // One that faults: reserved, for instance.
    table.set(9, 1, 0);
    let survey = read(&memory, &table);
    let expected = [
        range(0, 4, What::Scratch, 1),
        range(5, 5, page(PageSize::Small, Access::Both), 1),
        range(6, 8, What::Scratch, 1),
        range(10, (1 << 27) - 1, What::Scratch, 1),
    ];
    assert_eq!(survey.ranges, expected);
    assert_eq!(survey.tables, [level(3, 1, 0), level(2, 1, 1), level(1, 1, 1)]);
}
