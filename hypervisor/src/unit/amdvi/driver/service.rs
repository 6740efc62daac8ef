//! The driver of a unit, as the service knows drivers.
#![expect(unsafe_code, reason = "the driver vouches for what it says is in force")]

use super::AmdVi;
use crate::{
    addr::{BfnRange, PAGE_SHIFT},
    platform::{
        AttachError, Invalidation, SourceId, TableRoot, TableShape, Tag, UnitError, UnitFacts,
    },
    unit::{
        Driver, Event,
        amdvi::{
            command,
            device_entry::{self, Translation},
        },
    },
};

// SAFETY: an entry changes in one store of 128 bits, from one that is valid to one that is, and the unit
// is told to forget it and has said that it is done before `Ok` is returned. COMPLETION_WAIT comes after
// what is under way by what was forgotten (section 2.4.1). The device table has no entry that lets requests
// pass (`device_table`), and the unit has been on with it since before this value was made (`power`).
unsafe impl Driver for AmdVi<'_> {
    fn facts(&self) -> UnitFacts {
        self.facts
    }

    /// Refused, too: a device of another segment or beyond the device table, and a table that the unit does
    /// not walk.
    fn attach(&self, source: SourceId, root: TableRoot, tag: Tag) -> Result<(), AttachError> {
        if !self.may_have(root, tag) {
            return Err(AttachError::Refused);
        }
        let entry = device_entry::translated(root, tag);
        self.replace(source, entry).ok_or(AttachError::Refused)?;
        Ok(self.forget(source)?)
    }

    fn block(&self, source: SourceId) -> Result<(), UnitError> {
        if self.replace(source, device_entry::BLOCKED).is_some() {
            return self.forget(source);
        }
        // Who is beyond the table is blocked already; who is elsewhere is not ours to block.
        if self.table.is_of_segment(source) { Ok(()) } else { Err(UnitError) }
    }

    fn invalidate(&self, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        self.submit(&[command::invalidate(tag, what)])
    }

    fn sync_map(&self, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        // What was absent may be an entry above the leaves.
        self.submit(&[command::invalidate(tag, Invalidation::Tables(range))])
    }

    fn stop(&self, source: SourceId) {
        let Some(entry) = self.table.change(source, device_entry::stopped) else { return };
        if !self.post_stop(source.0, entry) {
            self.owed.owe();
        }
    }

    fn restart(&self, source: SourceId) {
        if self.table.change(source, device_entry::restarted).is_some() {
            // If that fails the unit has failed, and the next call says so.
            let _ = self.forget(source);
        }
    }

    /// Waits for an entry that the unit has announced and not written yet, a millisecond at most.
    fn next_event(&self) -> Option<Event> {
        self.settle();
        self.log.next(self.registers, self.control)
    }

    /// True if the unit is on with our device table, by its registers, and no entry there lets an interrupt
    /// pass as it is. Reads all entries; for one device there is
    /// [`isolates_interrupts_of`](AmdVi::isolates_interrupts_of).
    fn isolates_interrupts(&self) -> bool {
        self.is_in_force() && self.table.isolates_all()
    }

    fn suspend(&self) -> Result<(), UnitError> {
        // A wait behind all that is under way. Tag 0 is nobody's.
        self.submit(&[command::invalidate(Tag(0), Invalidation::Everything)])
    }

    fn resume(&self) -> Result<(), UnitError> {
        if self.commands.has_failed() {
            return Err(UnitError);
        }
        self.switch_on()
    }

    fn crash_shutdown(&self) {
        self.switch_off();
    }
}

impl AmdVi<'_> {
    /// True if an entry can name this table and tag.
    fn may_have(&self, root: TableRoot, tag: Tag) -> bool {
        let shape = TableShape { format: self.facts.format, levels: root.levels };
        let bits = u32::from(self.facts.host_address_bits).saturating_sub(PAGE_SHIFT);
        let in_reach = root.frame.0.checked_shr(bits).unwrap_or(0) == 0;
        self.facts.walks(shape) && in_reach && tag.0 != 0 && u32::from(tag.0) < self.facts.tags
    }

    fn replace(&self, source: SourceId, entry: Translation) -> Option<()> {
        self.table.change(source, |old| device_entry::replaced(old, entry)).map(|_| ())
    }

    fn forget(&self, source: SourceId) -> Result<(), UnitError> {
        self.submit(&[command::forget_device(source.0)])
    }
}
