//! Who owns a page, and the references that keep it: what the service acquires and releases.
#![expect(unsafe_code, reason = "three of the platform traits are unsafe to implement")]

use pviommu_abi::{Bfn, DomId, Gfn};
use pviommu_hypervisor::{
    DefaultMap,
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::{Access, AcquireError, InitialRun, PageKind, PageOwnership, Run, Runs, Wanted},
};

use super::{
    p2m::{Backed, P2m},
    pieces::Work,
    platform::Platform,
    sabotage::Break,
    schedule::Step,
    violation::Violation,
};

/// Whose pages are asked for, and on whose behalf.
#[derive(Clone, Copy)]
struct Asked<'p> {
    domain: DomId,
    owner: DomId,
    p2m: &'p P2m,
    access: Access,
}

impl Platform<'_> {
    /// Takes references on up to `pages` pages behind `frame`, in order, and appends them.
    fn acquire_ram(
        &self,
        asked: Asked<'_>,
        frame: Mfn,
        pages: u64,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let Asked { domain, owner, access, .. } = asked;
        let write = access.contains(Access::WRITE);
        let frames = &self.board.memory.frames;
        let refused = (0..pages).find_map(|i| {
            frames.acquire(Mfn(frame.0 + i), owner, write).err().map(|error| (i, error))
        });
        let taken = refused.map_or(pages, |(i, _)| i);
        frames.count_references(taken, 0);
        if let Some(range) = MfnRange::of_pages(frame, taken) {
            if owner != domain {
                self.board.lent.add(domain, owner, range);
            }
            let run = Run { frames: range, kind: PageKind::Ram, access };
            out.push(run).expect("there was room for a run");
        }
        refused.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Pins one page of another domain and appends it.
    fn acquire_foreign(
        &self,
        asked: Asked<'_>,
        backed: Backed,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let (frames, shares) = (&self.board.memory.frames, &self.board.shares);
        let handle = backed.foreign.ok_or(AcquireError::NotBacked)?;
        let write = asked.access.contains(Access::WRITE);
        let frame = shares.pin_mapping(frames, asked.domain, handle, write)?;
        frames.count_references(1, 0);
        let frames = MfnRange::single(frame);
        let run = Run { frames, kind: PageKind::Foreign(handle), access: asked.access };
        out.push(run).expect("there was room for a run");
        Ok(())
    }

    fn acquire_grant(
        &self,
        domain: DomId,
        granted: (DomId, u64),
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let board = self.board;
        if out.is_full() {
            return Ok(());
        }
        let p2m = board.p2m(granted.0).ok_or(AcquireError::NotBacked)?;
        let _p2m = p2m.lock.enter("acquire");
        let _held = self.begin_acquire()?;
        if board.schedule.hit(Step::AcquirePage) {
            return Err(board.schedule.acquire_error());
        }
        let (frames, write) = (&board.memory.frames, access.contains(Access::WRITE));
        let (handle, frame) = board.shares.pin_grant(frames, p2m, domain, granted, write)?;
        frames.count_references(1, 0);
        let frames = MfnRange::single(frame);
        out.push(Run { frames, kind: PageKind::Foreign(handle), access })
            .expect("there was room for a run");
        Ok(())
    }

    /// Takes the platform's lock, unless the call fails by schedule.
    fn begin_acquire(&self) -> Result<super::lock::Held<'_>, AcquireError> {
        let held = self.board.lock.enter("acquire");
        self.board.pieces.count(Work::Acquires, 1);
        self.board.meanwhile();
        if self.board.schedule.hit(Step::Acquire) {
            return Err(self.board.schedule.acquire_error());
        }
        Ok(held)
    }

    fn acquire_range(
        &self,
        asked: Asked<'_>,
        gfns: GfnRange,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let schedule = &self.board.schedule;
        let watched = schedule.watches_pages();
        let mut gfn = gfns.first();
        let mut left = gfns.pages();
        while left > 0 && !out.is_full() {
            if watched && schedule.hit(Step::AcquirePage) {
                return Err(schedule.acquire_error());
            }
            let backed = asked.p2m.lookup(gfn).ok_or(AcquireError::NotBacked)?;
            let pages = if watched { 1 } else { backed.run.min(left) };
            let skipped = if self.board.sabotage.is(Break::FirstPageOnly) { left } else { pages };
            if backed.mmio {
                // The greatest access of the page, at most what was asked for.
                let access = asked.access & backed.access;
                if access.is_empty() {
                    return Err(AcquireError::NotPermitted);
                }
                let frames = MfnRange::of_pages(backed.frame, skipped);
                let frames = frames.ok_or(AcquireError::NotBacked)?;
                let run = Run { frames, kind: PageKind::Mmio, access };
                out.push(run).expect("there was room for a run");
            } else if !backed.access.contains(asked.access) || backed.access.is_empty() {
                return Err(AcquireError::NotPermitted);
            } else if backed.foreign.is_some() {
                self.acquire_foreign(asked, backed, out)?;
            } else {
                self.acquire_ram(asked, backed.frame, pages, out)?;
                let unchecked = Mfn(backed.frame.0 + pages);
                if let Some(frames) = MfnRange::of_pages(unchecked, skipped - pages) {
                    let run = Run { frames, kind: PageKind::Ram, access: asked.access };
                    out.push(run).expect("it follows on the run before");
                }
            }
            if !watched {
                schedule.count_pages(pages);
            }
            gfn.0 = gfn.0.wrapping_add(skipped);
            left -= skipped;
        }
        Ok(())
    }

    /// Gives one reference on `frame`, of `run`, back; false if no such one is held.
    fn release_page(&self, domain: DomId, run: &Run, frame: Mfn) -> bool {
        let board = self.board;
        let frames = &board.memory.frames;
        let write = run.access.contains(Access::WRITE);
        if let PageKind::Foreign(handle) = run.kind {
            return board.shares.unpin(frames, domain, (handle, write), frame).is_ok();
        }
        let owner = board.lent.take(domain, frame).unwrap_or(domain);
        frames.release(frame, owner, write).is_ok()
    }
}

// SAFETY: a frame's owner, type and count change in one step, and while the count is not zero
// the frame table refuses every change of owner or type; page tables and the hypervisor's frames
// are refused for writing. A machine that is sabotaged breaks this on purpose; no memory of this
// process is reached through its frames.
unsafe impl PageOwnership for Platform<'_> {
    fn acquire(
        &self,
        domain: DomId,
        wanted: Wanted,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let (owner, gfns) = match wanted {
            Wanted::Guest { owner, gfns } => (owner, gfns),
            Wanted::Grant { granter, reference } => {
                return self.acquire_grant(domain, (granter, reference), access, out);
            }
            _ => return Err(AcquireError::NotPermitted),
        };
        let p2m = self.board.p2m(owner).ok_or(AcquireError::NotBacked)?;
        let _p2m = p2m.lock.enter("acquire");
        let _held = self.begin_acquire()?;
        self.acquire_range(Asked { domain, owner, p2m, access }, gfns, out)
    }

    fn acquire_list(
        &self,
        domain: DomId,
        owner: DomId,
        gfns: &[Gfn],
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let p2m = self.board.p2m(owner).ok_or(AcquireError::NotBacked)?;
        let _p2m = p2m.lock.enter("acquire");
        let _held = self.begin_acquire()?;
        let asked = Asked { domain, owner, p2m, access };
        if self.board.sabotage.is(Break::FirstPageOnly)
            && let Some(first) = gfns.first()
            && let Some(range) = GfnRange::of_pages(*first, gfns.len() as u64)
        {
            return self.acquire_range(asked, range, out);
        }
        // Once the list is full, nothing more is acquired.
        gfns.iter().try_for_each(|gfn| self.acquire_range(asked, GfnRange::single(*gfn), out))
    }

    fn release(&self, domain: DomId, run: &Run) {
        let board = self.board;
        let _held = board.lock.enter("release");
        board.pieces.count(Work::Released, run.frames.pages());
        board.meanwhile();
        let mut given_back = 0;
        for frame in (run.frames.first().0..=run.frames.last().0).map(Mfn) {
            if board.sabotage.swallows_release(frame) {
                continue;
            }
            if self.release_page(domain, run, frame) {
                given_back += 1;
            } else if !board.sabotage.is(Break::FirstPageOnly) {
                let wrong = match run.kind {
                    PageKind::Foreign(handle) => Violation::BadForeign { domain, handle, frame },
                    _ => Violation::ReleaseWithoutReference { domain, frame },
                };
                board.memory.violations.record(wrong);
            }
        }
        board.memory.frames.count_references(0, given_back);
        for unit in &board.units {
            unit.check_released(&board.memory, run.frames);
        }
    }

    fn gfn_of(&self, domain: DomId, frame: Mfn) -> Option<Gfn> {
        let p2m = self.board.p2m(domain)?;
        let _p2m = p2m.lock.enter("gfn_of");
        let _held = self.board.lock.enter("gfn_of");
        p2m.gfn_of(frame)
    }

    fn initial_map(&self, domain: DomId, from: Bfn) -> Option<InitialRun> {
        let p2m = self.board.p2m(domain)?;
        let _p2m = p2m.lock.enter("initial_map");
        let _held = self.board.lock.enter("initial_map");
        let host = self.board.memory.rules.default_map(domain) == DefaultMap::Host;
        let (first, last, access) = if host {
            let ram = self.board.memory.frames.ram_from(Mfn(from.0))?;
            (ram.first().0, ram.last().0, Access::all())
        } else {
            let (gfns, access) = p2m.next_run(Gfn(from.0))?;
            (gfns.first().0, gfns.last().0, access)
        };
        Some(InitialRun { bfns: BfnRange::new(Bfn(first), Bfn(last))?, access })
    }

    fn may_be_direct(&self, frames: MfnRange) -> bool {
        let _held = self.board.lock.enter("may_be_direct");
        self.board.memory.rules.is_all_firmware(frames)
    }
}
