//! Who owns a page, and the reference that keeps it.
#![expect(unsafe_code, reason = "the embedder vouches for its implementation")]

use core::fmt;

use pviommu_abi::{Bfn, DomId, Gfn};

use crate::{
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    sync::room,
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

impl Run {
    /// True if all that is said of the frames of both is the same.
    #[inline]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.access == other.access
    }

    /// True if the first frame of `next` comes after the last of this run.
    #[inline]
    fn is_before(&self, next: &Self) -> bool {
        self.frames.last().checked_add(1) == Some(next.frames.first())
    }
}

/// Most runs that [`Runs`] holds: a call acquires and releases at most this many at a time.
pub const MAX_RUNS: usize = room(256);

/// The list of runs is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunsFull;

/// A bounded list of runs; one that follows on the last is joined to it.
///
/// What holds for all of them is kept beside them, so that a list which is alike throughout is checked as a whole.
pub struct Runs {
    runs: heapless::Vec<Run, MAX_RUNS>,
    pages: u64,
    lowest: Mfn,
    highest: Mfn,
    /// A run is unlike the one before it.
    mixed: bool,
}

impl Runs {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        let (lowest, highest) = (Mfn(u64::MAX), Mfn(0));
        Self { runs: heapless::Vec::new(), pages: 0, lowest, highest, mixed: false }
    }

    /// Appends a run.
    ///
    /// # Errors
    /// [`RunsFull`] if it does not follow on the last and there is no room; nothing is appended.
    #[inline]
    pub fn push(&mut self, run: Run) -> Result<(), RunsFull> {
        let mut unlike = false;
        let mut joined = false;
        if let Some(last) = self.runs.last_mut() {
            unlike = !last.is_like(&run);
            if !unlike && last.is_before(&run) {
                last.frames = last.frames.union(run.frames);
                joined = true;
            }
        }
        if !joined {
            self.runs.push(run).map_err(|_| RunsFull)?;
        }
        self.mixed |= unlike;
        self.pages = self.pages.saturating_add(run.frames.pages());
        self.lowest = self.lowest.min(run.frames.first());
        self.highest = self.highest.max(run.frames.last());
        Ok(())
    }

    /// The runs, in the order they were appended.
    #[must_use]
    pub fn as_slice(&self) -> &[Run] {
        &self.runs
    }

    /// True if [`push`](Self::push) can fail.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.runs.is_full()
    }

    /// Number of frames in all runs.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The first run, if there is one and all others are like it but for their frames.
    pub(crate) fn all_like(&self) -> Option<&Run> {
        self.runs.first().filter(|_| !self.mixed)
    }

    /// The smallest range that all frames are in.
    pub(crate) fn hull(&self) -> Option<MfnRange> {
        MfnRange::new(self.lowest, self.highest)
    }

    /// Forgets all runs; what they stand for must have been handed on.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.pages = 0;
        (self.lowest, self.highest) = (Mfn(u64::MAX), Mfn(0));
        self.mixed = false;
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
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

    /// Gives back one reference on each frame of `run`, which `domain` acquired: one of the runs
    /// [`acquire`](Self::acquire) returned, a part of one, or several joined.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, pages: u64, kind: PageKind) -> Run {
        let frames = MfnRange::of_pages(Mfn(first), pages).unwrap();
        Run { frames, kind, access: Access::READ }
    }

    #[test]
    fn runs_join_only_when_they_follow_on_and_are_alike() {
        let mut runs = Runs::new();
        runs.push(run(10, 2, PageKind::Ram)).unwrap();
        runs.push(run(12, 1, PageKind::Ram)).unwrap();
        runs.push(run(13, 1, PageKind::Mmio)).unwrap();
        runs.push(run(20, 1, PageKind::Mmio)).unwrap();
        let pages: Vec<u64> = runs.as_slice().iter().map(|r| r.frames.pages()).collect();
        assert_eq!(pages, [3, 1, 1]);
        assert_eq!(runs.pages(), 5);
    }

    #[test]
    fn what_holds_for_all_runs_is_known_without_a_look_at_them() {
        let mut runs = Runs::new();
        assert_eq!((runs.all_like(), runs.hull()), (None, None));
        for first in [30, 10, 11, 20] {
            runs.push(run(first, 1, PageKind::Ram)).unwrap();
        }
        assert_eq!(runs.all_like(), Some(&run(30, 1, PageKind::Ram)));
        assert_eq!(runs.hull(), MfnRange::new(Mfn(10), Mfn(30)));
        assert_eq!((runs.as_slice().len(), runs.pages()), (3, 4));
        runs.push(run(21, 1, PageKind::Mmio)).unwrap();
        runs.push(run(5, 1, PageKind::Ram)).unwrap();
        assert_eq!(runs.all_like(), None, "not all are RAM, although the first and the last are");
        assert_eq!(runs.hull(), MfnRange::new(Mfn(5), Mfn(30)));
        runs.clear();
        assert_eq!((runs.all_like(), runs.hull(), runs.pages()), (None, None, 0));
        let read = run(1, 1, PageKind::Ram);
        runs.push(read).unwrap();
        runs.push(Run { access: Access::WRITE, ..run(2, 1, PageKind::Ram) }).unwrap();
        assert_eq!(runs.all_like(), None, "nor may all be written");
    }

    #[test]
    fn a_full_list_refuses_and_keeps_what_it_has() {
        let mut runs = Runs::new();
        for i in 0..MAX_RUNS as u64 {
            runs.push(run(i * 2, 1, PageKind::Ram)).unwrap();
        }
        assert_eq!(runs.push(run(10_000, 1, PageKind::Ram)), Err(RunsFull));
        assert_eq!(runs.pages(), MAX_RUNS as u64);
    }
}
