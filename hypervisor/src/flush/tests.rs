use pviommu_abi::Bfn;

use super::{ENOUGH_TABLES, FlushRoom, MAX_TABLES, PendingFlush};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    platform::{Access, ForeignHandle, PageKind, Run},
};

const LEAVES: BfnRange = BfnRange::fixed(Bfn(8), Bfn(15));
const TABLES: BfnRange = BfnRange::fixed(Bfn(512), Bfn(1023));

fn run(kind: PageKind) -> Run {
    Run { frames: MfnRange::of_pages(Mfn(100), 8).unwrap(), kind, access: Access::READ }
}

/// What each thing that a flush can wait for is noted by.
const CHANGES: [fn(&mut PendingFlush<'_>); 8] = [
    |pending| pending.added(LEAVES),
    |pending| pending.changed_leaves(LEAVES),
    |pending| pending.changed_tables(TABLES),
    |pending| pending.take_run(run(PageKind::Ram)),
    |pending| pending.take_table(Mfn(7)).unwrap(),
    |pending| pending.unreserve(1),
    |pending| pending.lose_pages(1),
    |pending| pending.lose_table(),
];

#[test]
fn whatever_changed_there_is_something_to_complete() {
    let mut room = FlushRoom::new();
    assert!(PendingFlush::new(&mut room).is_empty());
    for (n, change) in CHANGES.into_iter().enumerate() {
        let mut pending = PendingFlush::new(&mut room);
        change(&mut pending);
        assert!(!pending.is_empty(), "{n}");
        pending.complete(|_, _| Ok::<_, ()>(()), |_, _| {}, |_| {}).unwrap();
        assert!(pending.is_empty(), "{n}");
    }
}

#[test]
fn leaves_of_ram_may_wait_and_nothing_that_goes_with_more() {
    let mut room = FlushRoom::new();
    for with in CHANGES.into_iter().skip(2) {
        let mut pending = PendingFlush::new(&mut room);
        pending.changed_leaves(LEAVES);
        pending.take_run(run(PageKind::Ram));
        with(&mut pending);
        let (tables, frames) = (pending.0.tables.range().is_some(), pending.has_tables());
        let more = tables || frames || pending.0.unreserved != 0;
        let taken = pending.take_leaves().map(|(leaves, _)| leaves);
        assert_eq!(taken, (!more).then_some(LEAVES));
        // What is taken is not flushed here, and what is not taken is.
        assert_eq!(pending.invalidation().is_some(), more);
    }
    for kind in [PageKind::Mmio, PageKind::Foreign(ForeignHandle(1))] {
        let mut pending = PendingFlush::new(&mut room);
        pending.changed_leaves(LEAVES);
        pending.take_run(run(kind));
        assert!(pending.take_leaves().is_none());
    }
}

#[test]
fn what_is_added_is_made_visible_unless_that_is_for_later_or_for_nobody() {
    let mut room = FlushRoom::new();
    let mut pending = PendingFlush::new(&mut room);
    pending.sync_later(true);
    pending.added(TABLES);
    assert_eq!(pending.sync(), None);
    pending.sync_later(false);
    pending.added(LEAVES);
    assert_eq!(pending.sync(), Some(LEAVES));
    pending.forget_added();
    assert_eq!(pending.sync(), None);
    assert!(pending.is_empty());
}

/// INV-15: an embedder hears of everything that is held for ever.
#[test]
fn what_there_was_no_room_for_is_told_and_so_is_all_if_the_flush_fails() {
    let mut room = FlushRoom::new();
    for (flushed, told) in [(Ok(()), Some((3, 1))), (Err(()), Some((3 + 8, 1 + 1)))] {
        let mut pending = PendingFlush::new(&mut room);
        pending.take_run(run(PageKind::Ram));
        pending.take_table(Mfn(7)).unwrap();
        pending.lose_pages(3);
        pending.lose_table();
        let (mut leaked, mut released) = (None, None);
        let complete = pending.complete(
            |_, _| flushed,
            |pages, tables| leaked = Some((pages, tables)),
            |it| released = Some((it.runs.pages(), it.tables.len())),
        );
        assert_eq!(complete, flushed);
        assert_eq!(leaked, told);
        assert_eq!(released, Some(if flushed.is_ok() { (8, 1) } else { (0, 0) }));
    }
}

#[test]
fn a_table_a_level_fits_until_there_are_enough() {
    let mut room = FlushRoom::new();
    let mut pending = PendingFlush::new(&mut room);
    for n in 0..MAX_TABLES {
        assert_eq!(pending.tables_full(), n >= ENOUGH_TABLES, "{n}");
        pending.take_table(Mfn(n as u64)).unwrap();
    }
    assert_eq!(pending.take_table(Mfn(7)), Err(Mfn(7)));
}
