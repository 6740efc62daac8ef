//! The units, as the service drives them.
#![expect(unsafe_code, reason = "three of the platform traits are unsafe to implement")]

use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{AttachError, Invalidation, IommuHw, SourceId, TableRoot, Tag, UnitError, UnitId},
};

use super::{
    frames::lock, orders, pieces::Work, platform::Platform, sabotage::Break, schedule::Step,
};

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
    ) -> Result<(), AttachError> {
        let model = self.unit(unit)?;
        self.board.meanwhile();
        self.board.pieces.count(Work::Devices, 1);
        if self.board.schedule.hit(Step::AttachRefused) {
            self.board.note_refusal(source.0);
            return Err(AttachError::Refused);
        }
        let fails = self.board.schedule.hit(Step::Attach);
        if !fails || self.board.schedule.half_done() {
            self.board.note_table(source.0, self.board.memory.tables.owner_of(root.frame));
            orders::attach(model, &self.board.memory, source.0, (root, tag), !fails);
            self.drain(unit, source, !fails);
        }
        if fails { Err(AttachError::Failed) } else { Ok(()) }
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        let model = self.unit(unit)?;
        self.board.meanwhile();
        self.board.pieces.count(Work::Devices, 1);
        let fails = self.board.schedule.hit(Step::Block);
        self.board.note_block(source.0);
        if !fails || self.board.schedule.half_done() {
            orders::block(model, &self.board.memory, source.0, !fails);
            self.drain(unit, source, !fails);
        }
        if fails { Err(UnitError) } else { Ok(()) }
    }

    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        let model = self.unit(unit)?;
        let board = self.board;
        board.invalidation.pass();
        board.meanwhile();
        board.pieces.count(Work::Commands, 1);
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
        self.board.pieces.count(Work::Commands, 1);
        let fails = self.board.schedule.hit(Step::SyncMap);
        if !fails || self.board.schedule.half_done() {
            orders::sync_map(model, &self.board.memory, tag, range);
        }
        if fails { Err(UnitError) } else { Ok(()) }
    }

    fn stop(&self, _: UnitId, source: SourceId) {
        self.board.meanwhile();
        self.board.set_stopped(source.0, true);
    }

    fn restart(&self, _: UnitId, source: SourceId) {
        self.board.set_stopped(source.0, false);
    }

    fn unit_failed(&self, unit: UnitId) {
        lock(&self.board.failed).push(unit);
    }
}
