//! The units: by their driver here, or by the embedder's functions.
#![expect(unsafe_code, reason = "C vouches for its functions")]

use pviommu_abi::Errno;
use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{AttachError, Invalidation, IommuHw, SourceId, TableRoot, Tag, UnitError, UnitId},
    unit::Driver,
};

use super::{Embedder, done};

/// `PVIOMMU_FORGET_*`, and which bus frames.
fn forget(what: Invalidation) -> (u32, u64, u64) {
    match what {
        Invalidation::Leaves(bfns) => (0, bfns.first().0, bfns.last().0),
        Invalidation::Tables(bfns) => (1, bfns.first().0, bfns.last().0),
        _ => (2, 0, u64::MAX),
    }
}

fn answer(status: core::ffi::c_int) -> Result<(), UnitError> {
    if done(status) { Ok(()) } else { Err(UnitError) }
}

impl Embedder {
    fn driver(&self, unit: UnitId) -> Option<&'static dyn Driver> {
        let driven = self.units.get(usize::from(unit.0)).copied().flatten();
        driven.map(|driven| driven.driver())
    }
}

// SAFETY: a driver promises it; of the embedder's functions whoever calls `pviommu_machine_init` does.
unsafe impl IommuHw for Embedder {
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), AttachError> {
        if let Some(driver) = self.driver(unit) {
            return driver.attach(source, root, tag);
        }
        let attach = self.calls.attach.ok_or(AttachError::Refused)?;
        let (frame, levels) = (root.frame.0, u32::from(root.levels));
        // SAFETY: the header's promise of this function.
        let status = unsafe { attach(self.context, unit.0, source.0, frame, levels, tag.0) };
        match Errno::from_ret(i64::from(status)) {
            None if status == 0 => Ok(()),
            Some(Errno::ENOMEM) => Err(AttachError::Refused),
            _ => Err(AttachError::Failed),
        }
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        if let Some(driver) = self.driver(unit) {
            return driver.block(source);
        }
        let block = self.calls.block.ok_or(UnitError)?;
        // SAFETY: the header's promise of this function.
        answer(unsafe { block(self.context, unit.0, source.0) })
    }

    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        if let Some(driver) = self.driver(unit) {
            return driver.invalidate(tag, what);
        }
        let invalidate = self.calls.invalidate.ok_or(UnitError)?;
        let (kind, first, last) = forget(what);
        // SAFETY: the header's promise of this function.
        answer(unsafe { invalidate(self.context, unit.0, tag.0, kind, first, last) })
    }

    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        if let Some(driver) = self.driver(unit) {
            return driver.sync_map(tag, range);
        }
        let sync = self.calls.sync_map.ok_or(UnitError)?;
        let (first, last) = (range.first().0, range.last().0);
        // SAFETY: the header's promise of this function.
        answer(unsafe { sync(self.context, unit.0, tag.0, first, last) })
    }

    fn stop(&self, unit: UnitId, source: SourceId) {
        if let Some(driver) = self.driver(unit) {
            driver.stop(source);
        }
        let Some(stop) = self.calls.stop else { return };
        // SAFETY: the header's promise of this function.
        unsafe { stop(self.context, unit.0, source.0) };
    }

    fn restart(&self, unit: UnitId, source: SourceId) {
        if let Some(driver) = self.driver(unit) {
            driver.restart(source);
        }
        let Some(restart) = self.calls.restart else { return };
        // SAFETY: the header's promise of this function.
        unsafe { restart(self.context, unit.0, source.0) };
    }

    fn unit_failed(&self, unit: UnitId) {
        let Some(failed) = self.calls.unit_failed else { return };
        // SAFETY: the header's promise of this function.
        unsafe { failed(self.context, unit.0) };
    }
}
