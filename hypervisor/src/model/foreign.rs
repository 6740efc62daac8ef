//! Pages of other domains: each is given back with its own handle.

use super::{Maker, Shared, race};
use crate::{
    addr::{Mfn, MfnRange},
    flush::{FlushRoom, PendingFlush},
    platform::{Access, ForeignHandle, PageKind, Pool, Run},
    table::{Edit, Stash},
};
use pviommu_abi::Bfn;

impl Shared {
    /// Maps a page of another domain, with tables from `stash`; false if something is there.
    fn map_foreign(&self, bfn: u64, frame: u64, handle: u64, tables: &[u64]) -> bool {
        let mut stash = Stash::new();
        for table in tables {
            stash.put(Mfn(*table), Pool::Open).unwrap();
        }
        let mut room = FlushRoom::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let kind = PageKind::Foreign(ForeignHandle(handle));
        let run = Run { frames: MfnRange::single(Mfn(frame)), kind, access: Access::READ };
        self.table().map(Bfn(bfn), (&run).into(), 1, Maker::Guest, &mut edit).pages == 1
    }

    /// Unmaps a page: its frame, and the handle it is given back with, if that is another's.
    fn unmap_foreign(&self, bfn: u64) -> Option<(u64, u64)> {
        let mut room = FlushRoom::new();
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        self.table().unmap(Bfn(bfn), 1, 1, &mut edit);
        let mut released = None;
        let flushed = edit.pending.complete(
            |_, _| Ok::<_, ()>(()),
            |_, _| {},
            |done| released = done.runs.first(),
        );
        flushed.unwrap();
        released.map(|run| match run.kind {
            PageKind::Foreign(handle) => (run.frames.first().0, handle.0),
            PageKind::Ram | PageKind::Mmio => (run.frames.first().0, u64::MAX),
        })
    }
}

/// INV-25: a page that another takes the place of is given back with its own handle.
#[test]
fn loom_a_foreign_page_is_given_back_with_its_own_handle() {
    loom::model(|| {
        let shared = Shared::new(2);
        // The leaf table, and two tables of handles.
        shared.map(1, 30, 1, &[1]);
        assert!(shared.map_foreign(0, 10, 7, &[2, 3]));
        let (taken, mapped) =
            race(&shared, |s| s.unmap_foreign(0), |s| s.map_foreign(0, 20, 9, &[]));
        assert_eq!(taken, Some((10, 7)));
        assert_eq!(shared.unmap_foreign(0), mapped.then_some((20, 9)));
    });
}
