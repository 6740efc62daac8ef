//! The table of `docs/worst-case.md`.

use std::collections::BTreeMap;

use pviommu_testbed::machine::{Piece, Work};

const TEXT: &str = include_str!("../../../../docs/worst-case.md");

/// How many times more than what is measured a row may say.
const SLACK: u64 = 4;

/// What is small is not compared like that.
const SMALL: u64 = 16;

/// The rows by their names.
fn rows() -> BTreeMap<&'static str, Piece> {
    let kinds = Work::ALL.len();
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let numbers: Vec<u64> =
            cells.get(1..=kinds)?.iter().map(|cell| cell.parse()).collect::<Result<_, _>>().ok()?;
        Some((name, numbers.try_into().unwrap()))
    };
    TEXT.lines().filter_map(row).collect()
}

fn stated(row: &str) -> Piece {
    let rows = rows();
    assert!(rows.contains_key(row), "docs/worst-case.md has no row `{row}`");
    rows[row]
}

/// No piece of what was measured is more than the row says.
pub(super) fn within(row: &str, how: &str, measured: &Piece) {
    println!("{row}: {how}: {measured:?}");
    let stated = stated(row);
    for (work, (measured, stated)) in Work::ALL.iter().zip(measured.iter().zip(&stated)) {
        assert!(measured <= stated, "{row}: {how}: {measured} {work:?} in a piece, not {stated}");
    }
}

/// And the worst of it is not far below.
pub(super) fn reached(row: &str, worst: &Piece) {
    let stated = stated(row);
    for (work, (worst, stated)) in Work::ALL.iter().zip(worst.iter().zip(&stated)) {
        let near = *stated <= SMALL || worst * SLACK >= *stated;
        assert!(near, "{row}: {stated} {work:?} are stated, and there are {worst}");
    }
}

#[test]
fn every_subop_that_is_served_and_every_call_has_a_row() {
    let rows = rows();
    for name in [
        "map_pages",
        "unmap_pages",
        "flush_pages",
        "batch",
        "free_context",
        "reattach_device",
        "alloc_context",
        "take_ownership",
        "questions",
        "set_default",
        "p2m_changed",
        "retarget",
        "trim",
        "teardown",
        "flush_deferred",
        "assign",
    ] {
        assert!(rows.contains_key(name), "{name}");
    }
    assert_eq!(rows.len(), 16, "and there are no others: {rows:?}");
}
