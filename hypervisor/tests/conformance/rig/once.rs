//! Single calls, with what each comes to.

use pviommu_hypervisor::{
    abi::Bfn,
    addr::MfnRange,
    flush::{FlushRoom, PendingFlush},
    format::Format,
    platform::{Access, ForeignHandle, PageKind, Pool, Run, TableFrames},
    table::{
        Cursor, Edit, Maker, Mapped, Prune, Pruned, Selection, Stash, Stop, Table, TakenOut,
        Unmapped,
    },
};

use super::{DOMAIN, Rig};
use crate::arena::Arena;

impl<F: Format> Rig<F> {
    /// Maps a page of another domain, which came with `handle`, by one call with so many frames at hand.
    pub(crate) fn map_foreign(&self, bfn: u64, handle: u64, frames: usize) -> Mapped {
        let kind = PageKind::Foreign(ForeignHandle(handle));
        let run = Run { kind, ..Self::run(handle, 1, Access::READ) };
        let mapped = self
            .once(frames, |table, edit| table.map(Bfn(bfn), (&run).into(), 1, Maker::Guest, edit));
        self.held.set(self.held.get() + mapped.pages);
        mapped
    }

    /// The handles that came back since this was asked.
    pub(crate) fn handles_back(&self) -> Vec<u64> {
        self.handles.take()
    }

    /// Unmaps at most `pages` pages by one call without frames: how many, and why not more.
    pub(crate) fn unmap_once(&self, bfn: u64, pages: u64) -> (u64, Option<Stop>) {
        let Unmapped { pages, stop } =
            self.once(0, |table, edit| table.unmap(Bfn(bfn), pages, pages, edit));
        (pages, stop)
    }

    /// Does a piece of a pass, by which at most `pages` pages go.
    pub(crate) fn prune(&self, what: Prune, from: Cursor, pages: u64) -> Pruned {
        self.once(0, |table, edit| table.prune(what, from, pages, &mut edit.pending))
    }

    /// Does a piece of a pass over the tables of handles.
    pub(crate) fn prune_handles(&self, what: Prune, from: Cursor) -> Pruned {
        self.once(0, |table, edit| table.prune_handles(what, from, &mut edit.pending))
    }

    /// Does a piece of taking out frames of memory, with no table frames at hand.
    pub(crate) fn take_out(&self, frames: &[MfnRange]) -> TakenOut {
        let selection = Selection { frames, mmio: false };
        self.once(0, |table, edit| table.take_out(selection, Cursor::default(), edit))
    }

    /// Another CPU, which maps a page with as many frames at hand as that takes.
    pub(crate) fn other_cpu(&self) -> impl Fn(&Arena, u64, u64) + use<F> {
        let (root, style, beside) = (self.root, self.style, self.beside.clone());
        self.held.set(self.held.get() + 1);
        move |arena, bfn, mfn| {
            let (mut stash, mut room) = (Stash::new(), FlushRoom::new());
            for _ in 1..root.levels {
                stash.put(arena.alloc(DOMAIN, Pool::Open).unwrap(), Pool::Open).unwrap();
            }
            let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
            let run = Self::run(mfn, 1, Access::READ);
            let mapped = Table::<F, Arena>::new(arena, root, style, &beside).map(
                Bfn(bfn),
                (&run).into(),
                1,
                Maker::Guest,
                &mut edit,
            );
            assert_eq!(mapped, Mapped { pages: 1, stop: None });
            assert!(stash.is_empty());
        }
    }
}

/// Does the pieces of a pass, which end.
pub(crate) fn pieces(mut piece: impl FnMut(Cursor) -> Pruned) {
    let mut from = Cursor::default();
    for _ in 0..1000 {
        match piece(from) {
            Pruned::More(next) => from = next,
            Pruned::Finished => return,
        }
    }
    panic!("a pass does not get on from {from:?}");
}
