//! Guest memory and the ownership of pages.
#![expect(unsafe_code, reason = "C vouches for its functions")]

use core::ffi::{c_int, c_void};

use pviommu_abi::{Bfn, DomId, Errno, Gfn, GuestPtr};
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::{
        Access, AcquireError, CopyFault, ForeignHandle, GuestMemory, InitialRun, PageKind,
        PageOwnership, Run, Runs, Wanted, acquire_stretches,
    },
};

use super::{Embedder, done};
use crate::config::{Range, access as access_of};

/// `struct pviommu_wanted`: the pages that a map asks for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WantedPages {
    /// 0: guest frames; 1: a grant.
    pub kind: u32,
    /// Whose.
    pub owner: u16,
    /// 0.
    pub reserved: u16,
    /// The first guest frame, or the number of the grant.
    pub first: u64,
    /// How many.
    pub pages: u64,
}

/// `struct pviommu_run`: frames that follow each other and were acquired alike.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RunOf {
    /// The first frame.
    pub first: u64,
    /// How many there are.
    pub pages: u64,
    /// `PVIOMMU_PAGE_*`.
    pub kind: u32,
    /// `PVIOMMU_ACCESS_READ`, `_WRITE`.
    pub access: u32,
    /// What a page of another domain is pinned by.
    pub handle: u64,
}

/// `struct pviommu_initial_run`: a piece of the map that a domain starts with.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct InitialPiece {
    /// Bus frames.
    pub bfns: Range,
    /// What devices may do there.
    pub access: u32,
    /// 0.
    pub reserved: u32,
}

/// `struct pviommu_runs`: where `acquire` puts what it has acquired. Opaque to C.
#[derive(Debug)]
pub struct Acquired {
    magic: u64,
    runs: *mut Runs,
    /// Pages that were asked for and not appended yet.
    left: u64,
    asked: Access,
}

const MAGIC: u64 = u64::from_le_bytes(*b"pv runs\n");
const RAM: u32 = 0;
const MMIO: u32 = 1;
const FOREIGN: u32 = 2;

impl GuestMemory for Embedder {
    fn copy_in(&self, domain: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        let copy = self.calls.copy_in.ok_or(CopyFault)?;
        let (at, bytes) = (to.as_mut_ptr().cast::<c_void>(), to.len());
        // SAFETY: the header's promise of this function, which is given room for `bytes` bytes.
        let status = unsafe { copy(self.context, domain.0, from.0, at, bytes) };
        if done(status) { Ok(()) } else { Err(CopyFault) }
    }

    fn copy_out(&self, domain: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        let copy = self.calls.copy_out.ok_or(CopyFault)?;
        let (at, bytes) = (from.as_ptr().cast::<c_void>(), from.len());
        // SAFETY: the header's promise of this function, which is given `bytes` bytes.
        let status = unsafe { copy(self.context, domain.0, to.0, at, bytes) };
        if done(status) { Ok(()) } else { Err(CopyFault) }
    }
}

// SAFETY: whoever calls `pviommu_machine_init` promises it of `acquire`, `release`, `initial_map` and
// `may_be_direct`.
unsafe impl PageOwnership for Embedder {
    fn acquire(
        &self,
        domain: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let acquire = self.calls.acquire.ok_or(AcquireError::NotPermitted)?;
        let (kind, owner, first, pages) = match wanted {
            Wanted::Guest { owner, gfns } => (0, owner.0, gfns.first().0, gfns.pages()),
            Wanted::Grant { granter, reference } => (1, granter.0, reference, 1),
            _ => return Err(AcquireError::NotPermitted),
        };
        let wanted = WantedPages { kind, owner, reserved: 0, first, pages };
        let left = pages;
        let mut acquired = Acquired { magic: MAGIC, runs: out, left, asked: access };
        let bits = u32::from(access.bits());
        // SAFETY: the header's promise of this function; both structures live until it returns.
        let status = unsafe { acquire(self.context, domain.0, &wanted, bits, &mut acquired) };
        acquired_or_refused(status)
    }

    fn acquire_list(
        &self,
        domain: DomId,
        owner: DomId,
        gfns: &[Gfn],
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let Some(acquire_list) = self.calls.acquire_list else {
            return acquire_stretches(self, domain, owner, gfns, access, out);
        };
        let left = u64::try_from(gfns.len()).unwrap_or(0);
        let mut acquired = Acquired { magic: MAGIC, runs: out, left, asked: access };
        // A guest frame is a number, and nothing else.
        let (list, count) = (gfns.as_ptr().cast::<u64>(), gfns.len());
        let (bits, runs) = (u32::from(access.bits()), &raw mut acquired);
        // SAFETY: the header's promise of this function; the list and the structure live until it returns.
        let status =
            unsafe { acquire_list(self.context, domain.0, owner.0, list, count, bits, runs) };
        acquired_or_refused(status)
    }

    fn release(&self, domain: DomId, run: &Run) {
        let Some(release) = self.calls.release else { return };
        let (kind, handle) = match run.kind {
            PageKind::Foreign(handle) => (FOREIGN, handle.0),
            PageKind::Mmio => (MMIO, 0),
            _ => (RAM, 0),
        };
        let (first, pages) = (run.frames.first().0, run.frames.pages());
        let run = RunOf { first, pages, kind, access: u32::from(run.access.bits()), handle };
        // SAFETY: the header's promise of this function; the run lives until it returns.
        unsafe { release(self.context, domain.0, &run) };
    }

    fn gfn_of(&self, domain: DomId, frame: Mfn) -> Option<Gfn> {
        let gfn_of = self.calls.gfn_of?;
        let mut gfn = 0;
        // SAFETY: the header's promise of this function, which may write a number there.
        let status = unsafe { gfn_of(self.context, domain.0, frame.0, &mut gfn) };
        done(status).then_some(Gfn(gfn))
    }

    fn initial_map(&self, domain: DomId, from: Bfn) -> Option<InitialRun> {
        let initial_map = self.calls.initial_map?;
        let bfns = Range { first: 0, last: 0 };
        let mut piece = InitialPiece { bfns, access: 0, reserved: 0 };
        // SAFETY: the header's promise of this function, which may write a piece there.
        let status = unsafe { initial_map(self.context, domain.0, from.0, &mut piece) };
        if !done(status) {
            return None;
        }
        let access = access_of(piece.access).ok().filter(|it| !it.is_empty())?;
        Some(InitialRun { bfns: piece.bfns.frames().ok()?, access })
    }

    fn may_be_direct(&self, frames: MfnRange) -> bool {
        let Some(may) = self.calls.may_be_direct else { return false };
        // SAFETY: the header's promise of this function.
        unsafe { may(self.context, frames.first().0, frames.last().0) != 0 }
    }
}

/// What C says of the page after those that it acquired.
fn acquired_or_refused(status: c_int) -> Result<(), AcquireError> {
    match Errno::from_ret(i64::from(status)) {
        None if status == 0 => Ok(()),
        Some(Errno::ENOENT) => Err(AcquireError::NotBacked),
        Some(Errno::EAGAIN) => Err(AcquireError::Retry),
        Some(Errno::EBUSY) => Err(AcquireError::Saturated),
        _ => Err(AcquireError::NotPermitted),
    }
}

/// Appends a run, inside of `acquire` or `acquire_list`.
///
/// # Errors
/// `-ENOBUFS`: the list is full; nothing was appended. `-EINVAL`: there is no list, or the run is none, is more
/// than was asked for, or may be used for more.
///
/// # Safety
///
/// `acquired` is null or what `acquire` or `acquire_list` was given, and that has not returned.
pub(crate) unsafe fn push(acquired: *mut Acquired, run: RunOf) -> Result<(), Errno> {
    if acquired.is_null() || !acquired.is_aligned() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise; while C runs nobody else uses it.
    let acquired = unsafe { &mut *acquired };
    let left = acquired.left.checked_sub(run.pages).filter(|_| acquired.magic == MAGIC);
    let left = left.ok_or(Errno::EINVAL)?;
    let kind = match run.kind {
        RAM => PageKind::Ram,
        MMIO => PageKind::Mmio,
        FOREIGN => PageKind::Foreign(ForeignHandle(run.handle)),
        _ => return Err(Errno::EINVAL),
    };
    let access = access_of(run.access)?;
    if access.is_empty() || !acquired.asked.contains(access) {
        return Err(Errno::EINVAL);
    }
    let frames = MfnRange::of_pages(Mfn(run.first), run.pages).ok_or(Errno::EINVAL)?;
    // SAFETY: `acquire` of this crate made it of a reference that it holds until C returns.
    let runs = unsafe { &mut *acquired.runs };
    runs.push(Run { frames, kind, access }).map_err(|_| Errno::ENOBUFS)?;
    acquired.left = left;
    Ok(())
}

/// What a function says that answers with a number.
pub(super) fn found(status: c_int, number: u64) -> Option<u64> {
    done(status).then_some(number)
}
