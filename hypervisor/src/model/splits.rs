//! A large leaf is split on one CPU while others go through it.

use super::*;
use crate::table::SplitPaid;

/// Maps one leaf of two pages at bus frame 0, to frames 10 and 11.
fn map_leaf(shared: &Shared) {
    let (mut stash, mut room) = (Stash::new(), FlushRoom::new());
    let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
    let frames = MfnRange::of_pages(Mfn(10), 2).unwrap();
    let run = Run { frames, kind: PageKind::Ram, access: Access::READ };
    let table = shared.table();
    let how = (Maker::Guest, SplitPaid::No);
    assert_eq!(table.map_large(Bfn(0), 1, AlikeRuns::from(&run), 1, how, &mut edit), Ok(1));
}

/// Unmaps `page` of that leaf by a split with the table `table`: references given back, and whether
/// the table is left.
fn unmap_page(shared: &Shared, page: u64, table: u64) -> (u64, bool) {
    let (mut stash, mut room) = (Stash::new(), FlushRoom::new());
    stash.put(Mfn(table), Pool::Open).unwrap();
    let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
    let unmapped = shared.table().unmap(Bfn(page), 1, 1, &mut edit);
    assert_eq!(unmapped.stop, None);
    let references = complete(edit.pending).0;
    (references, stash.len(Pool::Open) == 1)
}

/// INV-06: a device finds the page that stays at every instant, in the leaf or in what it became.
#[test]
fn loom_a_device_finds_a_page_while_its_leaf_is_split() {
    loom::model(|| {
        let shared = Shared::with_devices(2);
        map_leaf(&shared);
        let (unmapped, seen) = race(&shared, |s| unmap_page(s, 1, 1), |s| s.walk(0));
        assert_eq!(unmapped, (1, false));
        // A walk that ends at the leaf itself tells the leaf's first frame: that of this page.
        assert_eq!(seen, Some(10));
        assert_eq!((shared.frame(0), shared.frame(1)), (Some(10), None));
    });
}

/// INV-21: two CPUs split one leaf once, and each gives back the reference of its own page.
#[test]
fn loom_a_leaf_is_split_once() {
    loom::model(|| {
        let shared = Shared::new(2);
        map_leaf(&shared);
        let (a, b) = race(&shared, |s| unmap_page(s, 0, 1), |s| unmap_page(s, 1, 2));
        assert_eq!((a.0, b.0), (1, 1));
        assert!(a.1 != b.1, "one of the two tables is left");
        assert_eq!((shared.walk(0), shared.walk(1)), (None, None));
    });
}
