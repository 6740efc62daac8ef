//! Pages of other domains, and the handles they are given back with.

use pviommu_hypervisor::{
    format::{Format, pages_at},
    platform::{Access, Pool},
    table::{Mapped, Prune, Stop},
};

use super::rig::{Rig, pieces};

/// More tables of handles than a piece of a pass looks at.
const MANY: u64 = 40;
/// As many frames as can be at hand.
const FRAMES: usize = 10;

pub(crate) fn handles_stay_while_their_pages_do<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    let pages = || (0..MANY).map(|n| (n * table + n, 100 + n));
    for (bfn, handle) in pages() {
        assert_eq!(rig.map_foreign(bfn, handle, FRAMES), Mapped { pages: 1, stop: None });
    }
    pieces(|from| rig.prune_handles(Prune::EmptyTables, from));
    for (bfn, handle) in pages() {
        rig.is_mapped(bfn, handle, Access::READ);
        rig.unmap(bfn, 1);
        assert_eq!(rig.handles_back(), [handle], "{:?}", rig.kind);
    }
    rig.is_empty();
}

/// A table without entries would be found when frames are short, and go again.
pub(crate) fn no_table_is_linked_before_there_are_enough<F: Format>(rig: &mut Rig<F>) {
    // All levels of the handles, and those of the table that are not there.
    let needed = 2 * rig.levels() - 1;
    let before = rig.arena.live();
    for frames in 0..needed {
        let stop = Some(Stop::NeedTables(needed, Pool::Open));
        let mapped = rig.map_foreign(0, 1, frames.into());
        assert_eq!(mapped, Mapped { pages: 0, stop }, "{:?}", rig.kind);
        assert_eq!(rig.arena.live(), before, "{:?}", rig.kind);
    }
    assert_eq!(rig.map_foreign(0, 1, needed.into()), Mapped { pages: 1, stop: None });
    assert_eq!(rig.map_foreign(1, 2, 0), Mapped { pages: 1, stop: None });
    rig.unmap(0, 2);
    assert_eq!(rig.handles_back(), [1, 2]);
    rig.is_empty();
}

/// The only handle that an embedder may not give. What was made for the page is found when tables are short.
pub(crate) fn nothing_is_mapped_by_a_handle_that_there_is_not<F: Format>(rig: &mut Rig<F>) {
    let refused = Mapped { pages: 0, stop: Some(Stop::BadTable) };
    assert_eq!(rig.map_foreign(0, u64::MAX, FRAMES), refused);
    rig.is_vacant(0);
    rig.is_empty();
}
