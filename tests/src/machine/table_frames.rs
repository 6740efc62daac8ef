//! Page-table memory, lent to the service.
#![expect(unsafe_code, reason = "three of the platform traits are unsafe to implement")]

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::{Pool, TableFrames},
    sync::AtomicU64,
};

use super::{pieces::Work, platform::Platform, schedule::Step};

// SAFETY: a table's memory never moves and is handed out again only after it was freed; the
// units read exactly this memory, or what was published of it.
unsafe impl TableFrames for Platform<'_> {
    fn alloc(&self, domain: DomId, pool: Pool) -> Option<Mfn> {
        self.board.allocation.pass();
        let _held = self.board.lock.enter("alloc");
        self.board.pieces.count(Work::Frames, 1);
        self.board.meanwhile();
        if pool == Pool::Open && self.board.schedule.hit(Step::Alloc) {
            return None;
        }
        self.board.memory.tables.alloc(domain, pool, &self.board.memory.violations)
    }

    // As one whose memory has a lock of its own: it is taken once.
    fn alloc_some(&self, domain: DomId, frames: &mut [Mfn]) -> usize {
        self.board.allocation.pass();
        let _held = self.board.lock.enter("alloc_some");
        self.board.pieces.count(Work::Frames, 1);
        self.board.meanwhile();
        let memory = &self.board.memory;
        let each = frames.iter_mut().map_while(|frame| {
            let fails = self.board.schedule.hit(Step::Alloc);
            let found = || memory.tables.alloc(domain, Pool::Open, &memory.violations);
            *frame = if fails { None } else { found() }?;
            Some(())
        });
        each.count()
    }

    fn free(&self, domain: DomId, frame: Mfn, pool: Pool) {
        let _held = self.board.lock.enter("free");
        self.board.pieces.count(Work::Frames, 1);
        self.board.meanwhile();
        let memory = &self.board.memory;
        for unit in &self.board.units {
            unit.check_table_freed(memory, frame);
        }
        memory.tables.free(domain, frame, pool, &memory.violations);
    }

    fn alloc_scratch(&self, domain: DomId) -> Option<Mfn> {
        let _held = self.board.lock.enter("alloc_scratch");
        self.board.pieces.count(Work::Frames, 1);
        self.board.meanwhile();
        if self.board.schedule.hit(Step::Alloc) {
            return None;
        }
        self.board.memory.tables.alloc_scratch(domain, &self.board.memory.violations)
    }

    fn free_scratch(&self, domain: DomId, frame: Mfn) {
        let _held = self.board.lock.enter("free_scratch");
        self.board.pieces.count(Work::Frames, 1);
        self.board.meanwhile();
        let memory = &self.board.memory;
        for unit in &self.board.units {
            unit.check_scratch_freed(memory, frame);
        }
        memory.tables.free_scratch(domain, frame, &memory.violations);
    }

    fn reserve(&self, domain: DomId, frames: u32) -> bool {
        let _held = self.board.lock.enter("reserve");
        self.board.pieces.count(Work::Frames, 1);
        assert!(frames > 0, "nothing is put aside");
        !self.board.schedule.hit(Step::Reserve) && self.board.memory.tables.reserve(domain, frames)
    }

    fn unreserve(&self, domain: DomId, frames: u32) {
        let _held = self.board.lock.enter("unreserve");
        self.board.pieces.count(Work::Frames, 1);
        assert!(frames > 0, "nothing comes back");
        let memory = &self.board.memory;
        memory.tables.unreserve(domain, frames, &memory.violations);
    }

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        self.board.meanwhile();
        self.board.pieces.count(Work::Tables, 1);
        self.board.memory.tables.words(frame, &self.board.memory.violations)
    }

    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        self.board.memory.tables.first_in(frames)
    }

    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        self.board.meanwhile();
        self.board.pieces.count(Work::Entries, (last - first + 1) as u64);
        self.board.memory.tables.publish(frame, first, last);
        self.board.meanwhile();
    }
}
