//! The unsafe platform traits, as an embedder would implement them, on top of the board: pages,
//! page tables, units. The safe ones are in `host`.
//!
//! Every method but those of the page tables and of the units takes the platform's one lock, so
//! that a call from under a lock of the service shows.
#![expect(unsafe_code, reason = "three of the platform traits are unsafe to implement")]

use std::sync::atomic::{AtomicBool, AtomicU64};

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::{
    DomainIommu,
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::{
        Access, AcquireError, Invalidation, IommuHw, PageKind, PageOwnership, Pool, Run, Runs,
        SourceId, TableFrames, TableRoot, Tag, UnitError, UnitId,
    },
};

use super::{
    board::Board, frames::lock, p2m::P2m, sabotage::Break, schedule::Step, violation::Violation,
};
use crate::iommu::UnitModel;

/// A domain: the service's state of it, and whether it is dying.
#[derive(Debug)]
pub struct DomainSlot<'a> {
    /// Its number.
    pub id: DomId,
    /// True if it names all devices of the machine, not only its own.
    pub sees_all_devices: bool,
    /// The service's state of it.
    pub iommu: DomainIommu<'a>,
    /// Once true, it is no target of calls any more.
    pub dying: AtomicBool,
}

/// What the service runs on.
#[derive(Clone, Copy, Debug)]
pub struct Platform<'a> {
    pub(super) board: &'a Board,
    domains: &'a [DomainSlot<'a>],
}

impl<'a> Platform<'a> {
    /// A platform on `board` with `domains`.
    #[must_use]
    pub const fn new(board: &'a Board, domains: &'a [DomainSlot<'a>]) -> Self {
        Self { board, domains }
    }

    pub(super) fn slot(&self, domain: DomId) -> Option<&'a DomainSlot<'a>> {
        self.domains.iter().find(|slot| slot.id == domain)
    }

    fn unit(&self, unit: UnitId) -> Result<&'a UnitModel, UnitError> {
        self.board.unit(unit).ok_or_else(|| {
            self.board.memory.violations.record(Violation::NoSuchUnit { unit });
            UnitError
        })
    }

    /// Has all that a device has written arrive, if `done`.
    fn drain(&self, unit: UnitId, source: SourceId, done: bool) {
        self.board.memory.drain(|at| done && at.unit == unit && at.device == source.0);
    }

    /// Takes references on up to `pages` pages behind `frame`, in order, and appends them.
    fn acquire_ram(
        &self,
        domain: DomId,
        frame: Mfn,
        pages: u64,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let write = access.contains(Access::WRITE);
        let frames = &self.board.memory.frames;
        let refused = (0..pages).find_map(|i| {
            frames.acquire(Mfn(frame.0 + i), domain, write).err().map(|error| (i, error))
        });
        let taken = refused.map_or(pages, |(i, _)| i);
        frames.count_references(taken, 0);
        if let Some(range) = MfnRange::of_pages(frame, taken) {
            let run = Run { frames: range, kind: PageKind::Ram, access };
            out.push(run).expect("there was room for a run");
        }
        refused.map_or(Ok(()), |(_, error)| Err(error))
    }

    fn acquire_range(
        &self,
        p2m: &P2m,
        domain: DomId,
        gfns: GfnRange,
        access: Access,
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
            let backed = p2m.lookup(gfn).ok_or(AcquireError::NotBacked)?;
            let pages = if watched { 1 } else { backed.run.min(left) };
            let skipped = if self.board.sabotage.is(Break::FirstPageOnly) { left } else { pages };
            if backed.mmio {
                let frames = MfnRange::of_pages(backed.frame, skipped);
                let frames = frames.ok_or(AcquireError::NotBacked)?;
                let run = Run { frames, kind: PageKind::Mmio, access };
                out.push(run).expect("there was room for a run");
            } else {
                self.acquire_ram(domain, backed.frame, pages, access, out)?;
                let unchecked = Mfn(backed.frame.0 + pages);
                if let Some(frames) = MfnRange::of_pages(unchecked, skipped - pages) {
                    let run = Run { frames, kind: PageKind::Ram, access };
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
}

// SAFETY: a frame's owner, type and count change in one step, and while the count is not zero
// the frame table refuses every change of owner or type; page tables and the hypervisor's frames
// are refused for writing. A machine that is sabotaged breaks this on purpose; no memory of this
// process is reached through its frames.
unsafe impl PageOwnership for Platform<'_> {
    fn acquire(
        &self,
        domain: DomId,
        gfns: GfnRange,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let _held = self.board.lock.enter("acquire");
        self.board.meanwhile();
        if self.board.schedule.hit(Step::Acquire) {
            return Err(self.board.schedule.acquire_error());
        }
        let p2m = self.board.p2m(domain).ok_or(AcquireError::NotBacked)?;
        self.acquire_range(p2m, domain, gfns, access, out)
    }

    fn release(&self, domain: DomId, run: &Run) {
        let board = self.board;
        let _held = board.lock.enter("release");
        board.meanwhile();
        let mut given_back = 0;
        for frame in (run.frames.first().0..=run.frames.last().0).map(Mfn) {
            if board.sabotage.swallows_release(frame) {
                continue;
            }
            if board.memory.frames.release(frame, domain).is_ok() {
                given_back += 1;
            } else if !board.sabotage.is(Break::FirstPageOnly) {
                board
                    .memory
                    .violations
                    .record(Violation::ReleaseWithoutReference { domain, frame });
            }
        }
        board.memory.frames.count_references(0, given_back);
        for unit in &board.units {
            unit.check_released(&board.memory, run.frames);
        }
    }

    fn gfn_of(&self, domain: DomId, frame: Mfn) -> Option<Gfn> {
        let _held = self.board.lock.enter("gfn_of");
        self.board.p2m(domain)?.gfn_of(frame)
    }
}

// SAFETY: a table's memory never moves and is handed out again only after it was freed; the
// units read exactly this memory, or what was published of it.
unsafe impl TableFrames for Platform<'_> {
    fn alloc(&self, domain: DomId, pool: Pool) -> Option<Mfn> {
        let _held = self.board.lock.enter("alloc");
        self.board.meanwhile();
        if pool == Pool::Open && self.board.schedule.hit(Step::Alloc) {
            return None;
        }
        self.board.memory.tables.alloc(domain, pool, &self.board.memory.violations)
    }

    fn free(&self, domain: DomId, frame: Mfn, pool: Pool) {
        let _held = self.board.lock.enter("free");
        self.board.meanwhile();
        let memory = &self.board.memory;
        for unit in &self.board.units {
            unit.check_table_freed(memory, frame);
        }
        memory.tables.free(domain, frame, pool, &memory.violations);
    }

    fn alloc_scratch(&self, domain: DomId) -> Option<Mfn> {
        let _held = self.board.lock.enter("alloc_scratch");
        self.board.meanwhile();
        if self.board.schedule.hit(Step::Alloc) {
            return None;
        }
        self.board.memory.tables.alloc_scratch(domain, &self.board.memory.violations)
    }

    fn free_scratch(&self, domain: DomId, frame: Mfn) {
        let _held = self.board.lock.enter("free_scratch");
        self.board.meanwhile();
        let memory = &self.board.memory;
        for unit in &self.board.units {
            unit.check_scratch_freed(memory, frame);
        }
        memory.tables.free_scratch(domain, frame, &memory.violations);
    }

    fn reserve(&self, domain: DomId, frames: u32) -> bool {
        let _held = self.board.lock.enter("reserve");
        !self.board.schedule.hit(Step::Reserve) && self.board.memory.tables.reserve(domain, frames)
    }

    fn unreserve(&self, domain: DomId, frames: u32) {
        let _held = self.board.lock.enter("unreserve");
        let memory = &self.board.memory;
        memory.tables.unreserve(domain, frames, &memory.violations);
    }

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        self.board.meanwhile();
        self.board.memory.tables.words(frame, &self.board.memory.violations)
    }

    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        self.board.meanwhile();
        self.board.memory.tables.publish(frame, first, last);
        self.board.meanwhile();
    }
}

// SAFETY: a unit changes and forgets under the lock that its accesses hold from translation to
// the end of the transfer, so what returns `Ok` is in force and drained; a device without an
// entry is blocked. A machine that is sabotaged breaks this on purpose, see above.
unsafe impl IommuHw for Platform<'_> {
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), UnitError> {
        let model = self.unit(unit)?;
        self.board.meanwhile();
        let fails = self.board.schedule.hit(Step::Attach);
        if !fails || self.board.schedule.half_done() {
            model.attach(&self.board.memory, source.0, root, tag, !fails);
            self.drain(unit, source, !fails);
        }
        if fails { Err(UnitError) } else { Ok(()) }
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        let model = self.unit(unit)?;
        self.board.meanwhile();
        let fails = self.board.schedule.hit(Step::Block);
        if !fails || self.board.schedule.half_done() {
            model.block(source.0, !fails);
            self.drain(unit, source, !fails);
        }
        if fails { Err(UnitError) } else { Ok(()) }
    }

    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        let model = self.unit(unit)?;
        let board = self.board;
        board.meanwhile();
        let fails = board.schedule.hit(Step::Invalidate);
        if board.sabotage.is(Break::EarlyRelease) {
            board.sabotage.release_early(&board.memory, model, tag, what);
        }
        if !board.sabotage.is(Break::SkipFlush) && (!fails || board.schedule.half_done()) {
            board.sabotage.invalidate(&board.memory, model, tag, what);
        }
        if fails { Err(UnitError) } else { Ok(()) }
    }

    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        let model = self.unit(unit)?;
        self.board.meanwhile();
        let fails = self.board.schedule.hit(Step::SyncMap);
        if !fails || self.board.schedule.half_done() {
            model.sync_map(&self.board.memory, tag, range.first().0, range.last().0);
        }
        if fails { Err(UnitError) } else { Ok(()) }
    }

    fn unit_failed(&self, unit: UnitId) {
        lock(&self.board.failed).push(unit);
    }
}
