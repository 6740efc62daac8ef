//! Memory for page tables.
#![expect(unsafe_code, reason = "the embedder vouches for its implementation")]

use pviommu_abi::DomId;

use crate::{
    addr::{Mfn, MfnRange},
    sync::AtomicU64,
};

/// Entries of a table that fills one 4 KiB frame.
pub const TABLE_ENTRIES: usize = 512;

/// Where a table frame comes from, and goes back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    /// What is free: an allocation can fail.
    Open,
    /// What was put aside with [`TableFrames::reserve`]: an allocation cannot fail.
    Reserved,
}

/// Page-table memory, charged to a domain.
///
/// # Safety
///
/// The implementer promises that [`table`](Self::table) of an allocated frame is that frame's
/// memory, as the IOMMU sees it, and that nobody else writes it or is given it between
/// [`alloc`](Self::alloc) and [`free`](Self::free).
///
/// The service promises to free a frame only when no IOMMU can still walk it (INV-07) and no
/// other CPU is inside it.
pub unsafe trait TableFrames {
    /// A zeroed frame, or `None` if there is none left for `domain`.
    ///
    /// From [`Pool::Reserved`] it always succeeds while a reserved frame is left; the service asks for no more
    /// than it had put aside, and gives up no more.
    fn alloc(&self, domain: DomId, pool: Pool) -> Option<Mfn>;

    /// Puts zeroed frames of [`Pool::Open`] into `frames`, from the first place on, as many as are left for `domain`; how
    /// many.
    ///
    /// The default allocates one at a time. An embedder whose allocator takes a lock takes it once here.
    fn alloc_some(&self, domain: DomId, frames: &mut [Mfn]) -> usize {
        let mut found = 0usize;
        for place in frames {
            let Some(frame) = self.alloc(domain, Pool::Open) else { break };
            *place = frame;
            found = found.saturating_add(1);
        }
        found
    }

    /// Takes a frame back; into [`Pool::Reserved`] it counts as reserved again.
    fn free(&self, domain: DomId, frame: Mfn, pool: Pool);

    /// Puts `frames` frames, one or more, aside for [`Pool::Reserved`], all or none; false if there are none.
    fn reserve(&self, domain: DomId, frames: u32) -> bool;

    /// Gives up `frames` reserved frames, one or more, that were not allocated.
    fn unreserve(&self, domain: DomId, frames: u32);

    /// A zeroed frame that devices of `domain` may read and write as they like, or `None` if there
    /// is none left: the scratch page of one context. Nobody else ever reads or writes it.
    ///
    /// The default takes one of the table frames; an embedder that keeps those out of reach of
    /// devices provides its own.
    fn alloc_scratch(&self, domain: DomId) -> Option<Mfn> {
        self.alloc(domain, Pool::Open)
    }

    /// Takes a scratch page back. No device and no cache can reach it any more.
    fn free_scratch(&self, domain: DomId, frame: Mfn) {
        self.free(domain, frame, Pool::Open);
    }

    /// The entries of an allocated frame; a whole table. Empty if `frame` is not one. Of a scratch
    /// page it is the contents, to see whether a device has written it.
    ///
    /// Looked up once a table, not once an entry.
    fn table(&self, frame: Mfn) -> &[AtomicU64];

    /// The first frame of `frames` that [`table`](Self::table) knows: no device is ever let at one,
    /// whoever is said to own it.
    ///
    /// Asked once a run of pages, which may be long: compare ranges, do not look at each frame.
    fn first_table(&self, frames: MfnRange) -> Option<Mfn>;

    /// Makes entries `first..=last` visible to IOMMUs that do not snoop CPU caches.
    ///
    /// Called after each change when a unit of the context is not coherent
    /// ([`UnitFeatures::COHERENT`](super::UnitFeatures)).
    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        let _ = (frame, first, last);
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use super::*;

    /// Hands its frames out, the last one first, and takes them back.
    struct Simple(RefCell<Vec<Mfn>>);

    // SAFETY: no frame has memory, so there is none to be written.
    unsafe impl TableFrames for Simple {
        fn alloc(&self, _: DomId, pool: Pool) -> Option<Mfn> {
            (pool == Pool::Open).then(|| self.0.borrow_mut().pop())?
        }
        fn free(&self, _: DomId, frame: Mfn, pool: Pool) {
            assert_eq!(pool, Pool::Open);
            self.0.borrow_mut().push(frame);
        }
        fn reserve(&self, _: DomId, _: u32) -> bool {
            false
        }
        fn unreserve(&self, _: DomId, _: u32) {}
        fn table(&self, _: Mfn) -> &[AtomicU64] {
            &[]
        }
        fn first_table(&self, _: MfnRange) -> Option<Mfn> {
            None
        }
    }

    #[test]
    fn several_frames_are_allocated_as_far_as_there_are_some() {
        let simple = Simple(RefCell::new(vec![Mfn(1), Mfn(2), Mfn(3)]));
        let mut frames = [Mfn(0); 2];
        assert_eq!((simple.alloc_some(DomId(1), &mut frames), frames), (2, [Mfn(3), Mfn(2)]));
        assert_eq!((simple.alloc_some(DomId(1), &mut frames), frames), (1, [Mfn(1), Mfn(2)]));
        assert_eq!(simple.alloc_some(DomId(1), &mut frames), 0);
    }

    #[test]
    fn a_scratch_page_is_one_of_the_frames_and_comes_back_to_them() {
        let simple = Simple(RefCell::new(vec![Mfn(1)]));
        assert_eq!(simple.alloc_scratch(DomId(1)), Some(Mfn(1)));
        assert_eq!(simple.alloc_scratch(DomId(1)), None);
        simple.free_scratch(DomId(1), Mfn(1));
        assert_eq!(simple.alloc(DomId(1), Pool::Open), Some(Mfn(1)));
    }
}
