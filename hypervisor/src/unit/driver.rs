//! What the drivers of all makes of units have in common, and all of them as [`IommuHw`].
#![expect(unsafe_code, reason = "a driver vouches for what it says is in force")]

use crate::{
    addr::BfnRange,
    machine::Fault,
    platform::{
        AttachError, Invalidation, IommuHw, SourceId, TableRoot, Tag, UnitError, UnitFacts, UnitId,
    },
};

/// What a unit has recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request that it refused: for [`Iommu::report_fault`](crate::Iommu::report_fault).
    Fault(Fault),
    /// More than it had room for: some are lost.
    Lost,
    /// Something went wrong with the unit itself, by the code of its specification.
    Unit(u32),
}

/// One unit that is driven.
///
/// # Safety
///
/// As for [`IommuHw`], whose methods these are, of one unit.
pub unsafe trait Driver: Sync {
    /// What the unit can do.
    fn facts(&self) -> UnitFacts;

    /// See [`IommuHw::attach`].
    ///
    /// # Errors
    /// [`AttachError`] says which entry is in force.
    fn attach(&self, source: SourceId, root: TableRoot, tag: Tag) -> Result<(), AttachError>;

    /// See [`IommuHw::block`].
    ///
    /// # Errors
    /// [`UnitError`]: the device may still reach what it could before.
    fn block(&self, source: SourceId) -> Result<(), UnitError>;

    /// See [`IommuHw::invalidate`].
    ///
    /// # Errors
    /// [`UnitError`]: anything may still be cached.
    fn invalidate(&self, tag: Tag, what: Invalidation) -> Result<(), UnitError>;

    /// See [`IommuHw::sync_map`].
    ///
    /// # Errors
    /// [`UnitError`]: the device may not see the new entries.
    fn sync_map(&self, tag: Tag, range: BfnRange) -> Result<(), UnitError>;

    /// See [`IommuHw::stop`]. Bus mastering is not the unit's: whoever can reach configuration space
    /// switches it off, too.
    fn stop(&self, source: SourceId);

    /// See [`IommuHw::restart`].
    fn restart(&self, source: SourceId);

    /// Takes the oldest thing out of what the unit has recorded. Waits for nothing, so it may be called in the
    /// handler of the unit's interrupt; by one CPU at a time.
    fn next_event(&self) -> Option<Event>;

    /// True if the unit remaps interrupts now and lets none pass that it does not remap: what the
    /// hardware says, not what it could do.
    fn isolates_interrupts(&self) -> bool;

    /// Finishes what is under way before the machine sleeps and the registers lose what they hold.
    ///
    /// # Errors
    /// [`UnitError`]: it was not done in time.
    fn suspend(&self) -> Result<(), UnitError>;

    /// Brings the unit up again after the machine slept, with what is in memory.
    ///
    /// # Errors
    /// [`UnitError`]: the unit is not translating; nothing behind it may do DMA.
    fn resume(&self) -> Result<(), UnitError>;

    /// Leaves the unit to the kernel that runs after a crash: takes no lock, waits a bounded time, and
    /// ends with nothing cached and the unit switched off.
    fn crash_shutdown(&self);
}

/// The units of a machine, by their number.
#[derive(Clone, Copy)]
pub struct Drivers<'d>(pub &'d [&'d dyn Driver]);

impl<'d> Drivers<'d> {
    /// The driver of a unit.
    ///
    /// # Errors
    /// [`UnitError`]: there is no such unit.
    pub fn of(&self, unit: UnitId) -> Result<&'d dyn Driver, UnitError> {
        self.0.get(usize::from(unit.0)).copied().ok_or(UnitError)
    }
}

// SAFETY: each unit's driver promises it.
unsafe impl IommuHw for Drivers<'_> {
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), AttachError> {
        self.of(unit)?.attach(source, root, tag)
    }

    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError> {
        self.of(unit)?.block(source)
    }

    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        self.of(unit)?.invalidate(tag, what)
    }

    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        self.of(unit)?.sync_map(tag, range)
    }

    fn stop(&self, unit: UnitId, source: SourceId) {
        if let Ok(driver) = self.of(unit) {
            driver.stop(source);
        }
    }

    fn restart(&self, unit: UnitId, source: SourceId) {
        if let Ok(driver) = self.of(unit) {
            driver.restart(source);
        }
    }
}

impl core::fmt::Debug for Drivers<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Drivers").field(&self.0.len()).finish()
    }
}
