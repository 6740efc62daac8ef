//! Who owns a page, and the reference that keeps it.
#![expect(unsafe_code, reason = "the embedder vouches for its implementation")]

use pviommu_abi::{Bfn, DomId, Gfn};

use crate::{
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::Runs,
};

bitflags::bitflags! {
    /// What a device may do with a page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u8 {
        /// The device may read it.
        const READ = 1 << 0;
        /// The device may write it.
        const WRITE = 1 << 1;
    }
}

/// The embedder's name for a grant or a foreign mapping that is pinned: any number but `u64::MAX`. It
/// comes back with the release, and means nothing to the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForeignHandle(pub u64);

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PageKind {
    /// The domain's own memory: a reference is held until the flush after its removal.
    Ram,
    /// Registers of a device the domain may use: no reference is taken or given back.
    Mmio,
    /// Another domain's memory, through a grant or a foreign mapping: that one is pinned until the
    /// flush after the removal, so that its end waits, fails, or has the page retargeted first.
    Foreign(ForeignHandle),
}

impl PageKind {
    /// True if something is held that must be given back.
    #[must_use]
    pub fn is_held(self) -> bool {
        self != Self::Mmio
    }

    /// True if it is not another domain's.
    #[inline]
    pub(crate) fn is_own(self) -> bool {
        !matches!(self, Self::Foreign(_))
    }
}

/// The pages that a map asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Wanted {
    /// Guest frames of `owner`. Another owner than the domain that maps is asked for on behalf of
    /// the hardware domain only.
    Guest {
        /// Whose frames.
        owner: DomId,
        /// Which.
        gfns: GfnRange,
    },
    /// The page that `granter` granted to the domain that maps.
    Grant {
        /// Whose page.
        granter: DomId,
        /// The number of the grant, as the guest wrote it: any value.
        reference: u64,
    },
}

/// A piece of the map a domain starts with: bus frames that stand for the frames of the same
/// number, the machine's in a host map, the guest's in a guest map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitialRun {
    /// The bus frames.
    pub bfns: BfnRange,
    /// What devices may do there; not empty.
    pub access: Access,
}

/// Frames that follow each other and were acquired alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The frames.
    pub frames: MfnRange,
    /// What they are.
    pub kind: PageKind,
    /// What devices may do there: at most what was asked for.
    pub access: Access,
}

/// Why a page could not be acquired. The caller gets the errno named with each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AcquireError {
    /// Nothing backs the guest frame: `-ENOENT`.
    NotBacked,
    /// The caller may not use the page this way (owner, type, access): `-EPERM`.
    NotPermitted,
    /// The page is paged out or shared just now; the caller should try again: `-EAGAIN`.
    Retry,
    /// The page's reference count would overflow: `-EBUSY` (INV-24).
    Saturated,
}

/// Ownership, type and references of pages.
///
/// # Safety
///
/// The implementer promises that from a successful [`acquire`](Self::acquire) until the matching
/// [`release`](Self::release) a frame of kind [`PageKind::Ram`] or [`PageKind::Foreign`] keeps its
/// owner, its contents' owner and a type that permits the access, and is not given to anyone else;
/// that owner check, type check and reference are one atomic step (INV-22); that a frame used as a
/// page table or by the hypervisor itself is never acquired for writing (INV-23); and that a page
/// that may only be read, by its grant or by its type, is never acquired for writing (INV-26).
///
/// The service promises to release every run it was given once, in whole or in parts, and not
/// before no device and no cache can reach it.
pub unsafe trait PageOwnership {
    /// Acquires the pages that `domain` wants to map, from the first on, and appends their frames to
    /// `out` in order.
    ///
    /// Stops without an error when `out` is full. An embedder may hold a run by one operation or
    /// by one a page. A guest frame of the domain that is itself a grant or a foreign mapping has
    /// the kind [`PageKind::Foreign`]. Memory that may not be used as `access` says is refused;
    /// registers of devices come with the access they may be mapped with, which may be less
    /// (MSI-X tables: to read).
    ///
    /// # Errors
    /// Why the page after those appended could not be acquired. Those appended stay acquired.
    fn acquire(
        &self,
        domain: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError>;

    /// Acquires the guest frames `gfns` of `owner` as [`acquire`](Self::acquire) does a range of them, in their order:
    /// those of a guest's list, or of a batch. They are at most 256, in no order, and may be named twice.
    ///
    /// By default each stretch that follows on is acquired as a range. An embedder whose `acquire` does something
    /// that many pages can share, as taking a lock, does it once here.
    ///
    /// # Errors
    /// Why the page after those appended could not be acquired. Those appended stay acquired.
    fn acquire_list(
        &self,
        domain: DomId,
        owner: DomId,
        gfns: &[Gfn],
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        acquire_stretches(self, domain, owner, gfns, access, out)
    }

    /// Gives back one reference on each frame of `run`, which `domain` acquired: one of the runs
    /// [`acquire`](Self::acquire) returned, a part of one, or several joined, with the access that they have.
    ///
    /// Not called for [`PageKind::Mmio`].
    fn release(&self, domain: DomId, run: &Run);

    /// The guest frame of `domain` that `frame` backs, or `None` if no reverse map is kept.
    fn gfn_of(&self, domain: DomId, frame: Mfn) -> Option<Gfn> {
        let _ = (domain, frame);
        None
    }

    /// The first piece of the map that `domain` starts with at or after `from`, for a host map or a
    /// guest map ([`DefaultMap`](crate::DefaultMap)). It may begin before `from`.
    ///
    /// Of a host map: frames that the hardware domain may reach by DMA for as long as it lives,
    /// although nothing holds them; never the hypervisor's. Of a guest map: guest frames that are
    /// backed. Asked at creation, and again when the guest gives its default context back.
    fn initial_map(&self, domain: DomId, from: Bfn) -> Option<InitialRun> {
        let _ = (domain, from);
        None
    }

    /// True if no frame of `frames` is memory of the hypervisor or of a domain, now or later: what a
    /// device's firmware uses (RMRR, IVMD) is mapped one to one wherever the device is.
    fn may_be_direct(&self, frames: MfnRange) -> bool {
        let _ = frames;
        false
    }
}

/// Acquires a list as [`PageOwnership::acquire_list`] does by default: each stretch that follows on by
/// [`PageOwnership::acquire`].
///
/// # Errors
/// Why the page after those appended could not be acquired. Those appended stay acquired.
pub fn acquire_stretches<P: PageOwnership + ?Sized>(
    pages: &P,
    domain: DomId,
    owner: DomId,
    gfns: &[Gfn],
    access: Access,
    out: &mut Runs,
) -> Result<(), AcquireError> {
    let mut rest = gfns;
    while let Some(first) = rest.first() {
        let length = stretch(rest);
        let count = u64::try_from(length).unwrap_or(0);
        let gfns = GfnRange::of_pages(*first, count).ok_or(AcquireError::NotBacked)?;
        let before = out.pages();
        pages.acquire(domain, Wanted::Guest { owner, gfns }, access, out)?;
        if out.pages() != before.saturating_add(count) {
            // It is full, or the next page is for another call.
            break;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// How many of `gfns`, from the first on, follow each other. At least one of those there are.
fn stretch(gfns: &[Gfn]) -> usize {
    let mut end = gfns.len().min(1);
    while let (Some(last), Some(next)) = (gfns.get(end.saturating_sub(1)), gfns.get(end))
        && last.0.checked_add(1) == Some(next.0)
    {
        end = end.saturating_add(1);
    }
    end
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use super::*;

    /// Backs guest frames below 100 by frames of the same number, and notes what it is asked for.
    #[derive(Default)]
    struct Simple(RefCell<Vec<(u64, u64)>>);

    // SAFETY: nothing is mapped.
    unsafe impl PageOwnership for Simple {
        fn acquire(
            &self,
            _: DomId,
            wanted: Wanted,
            access: Access,
            out: &mut Runs,
        ) -> Result<(), AcquireError> {
            let Wanted::Guest { gfns, .. } = wanted else { return Err(AcquireError::NotPermitted) };
            self.0.borrow_mut().push((gfns.first().0, gfns.pages()));
            let backed = (gfns.first().0..=gfns.last().0).take_while(|gfn| *gfn < 100);
            let taken = out.push_each(PageKind::Ram, access, backed.map(Mfn));
            let refused = taken < gfns.pages() && !out.is_full();
            if refused { Err(AcquireError::NotBacked) } else { Ok(()) }
        }

        fn release(&self, _: DomId, _: &Run) {}
    }

    /// How the list ended, the frames acquired, and the ranges that were asked for.
    type Acquired = (Result<(), AcquireError>, Vec<u64>, Vec<(u64, u64)>);

    fn acquired(gfns: &[u64]) -> Acquired {
        let (simple, mut out) = (Simple::default(), Runs::new());
        let gfns: Vec<Gfn> = gfns.iter().copied().map(Gfn).collect();
        let ended = simple.acquire_list(DomId(1), DomId(1), &gfns, Access::READ, &mut out);
        let frames = out.iter().flat_map(|run| run.frames.first().0..=run.frames.last().0);
        (ended, frames.collect(), simple.0.into_inner())
    }

    #[test]
    fn of_what_an_embedder_does_not_tell_nothing_is_taken_for_granted() {
        let simple = Simple::default();
        assert_eq!(simple.gfn_of(DomId(1), Mfn(7)), None);
        assert_eq!(simple.initial_map(DomId(1), Bfn(0)), None);
        assert!(!simple.may_be_direct(MfnRange::single(Mfn(7))));
    }

    #[test]
    fn a_list_is_acquired_in_its_order_by_the_stretches_in_it() {
        let list = [7, 8, 9, 3, 2, 2, 3];
        let asked = vec![(7, 3), (3, 1), (2, 1), (2, 2)];
        assert_eq!(acquired(&list), (Ok(()), list.to_vec(), asked));
        assert_eq!(acquired(&[]), (Ok(()), vec![], vec![]));
    }

    #[test]
    fn a_list_is_acquired_up_to_the_page_that_is_refused() {
        let refused = Err(AcquireError::NotBacked);
        let asked = vec![(5, 1), (98, 4)];
        assert_eq!(acquired(&[5, 98, 99, 100, 101, 1]), (refused, vec![5, 98, 99], asked));
        assert_eq!(acquired(&[u64::MAX, 1]), (refused, vec![], vec![(u64::MAX, 1)]));
    }

    #[test]
    fn a_list_is_acquired_as_far_as_there_is_room() {
        let scattered: Vec<u64> = (0..300).map(|n| n * 7 % 100).collect();
        let (ended, frames, _) = acquired(&scattered);
        let room = super::super::MAX_RUNS;
        assert_eq!((ended, Some(frames.as_slice())), (Ok(()), scattered.get(..room)));
    }
}
