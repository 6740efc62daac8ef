//! The units: their drivers do it all, but for what is configuration space.
#![expect(unsafe_code, reason = "who implements the trait vouches for what the units do")]

use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{AttachError, Invalidation, IommuHw, SourceId, TableRoot, Tag, UnitError, UnitId},
};

use super::Platform;
use crate::machine::pci;

// SAFETY: the drivers promise it, each for its unit.
unsafe impl IommuHw for Platform {
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), AttachError> {
        self.drivers.attach(unit, source, root, tag)
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        self.drivers.block(unit, source)
    }

    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        self.drivers.invalidate(unit, tag, what)
    }

    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        self.drivers.sync_map(unit, tag, range)
    }

    fn stop(&self, unit: UnitId, source: SourceId) {
        self.drivers.stop(unit, source);
        // An id that is no function's is answered by nobody.
        pci::command(source.0, pci::BUS_MASTER, false);
    }

    fn restart(&self, unit: UnitId, source: SourceId) {
        self.drivers.restart(unit, source);
        pci::command(source.0, pci::BUS_MASTER, true);
    }

    fn unit_failed(&self, unit: UnitId) {
        log::error!("unit {} is given up", unit.0);
    }
}
