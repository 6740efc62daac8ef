//! A VT-d unit as the service sees it.
#![expect(unsafe_code, reason = "it vouches for what it says is in force")]

use crate::{
    addr::BfnRange,
    platform::{
        AttachError, Host, Invalidation, RegisterBlock, SourceId, TableRoot, Tag, UnitError,
        UnitFacts, UnitFeatures,
    },
    sync::full_fence,
    unit::{
        Driver, Event,
        vtd::{Vtd, descriptor, driver::requester, entry, registers::Global, tables::Missing},
    },
};

// SAFETY: an entry changes in one store, is forgotten with what was found through it, and drained, before
// success is told; success is what the unit itself wrote. Requests of whom no entry is present are
// refused: root entries are not present before a context table is zeroed, and entries not before `attach`.
unsafe impl<R: RegisterBlock, H: Host> Driver for Vtd<'_, R, H> {
    fn facts(&self) -> UnitFacts {
        self.facts
    }

    fn attach(&self, source: SourceId, root: TableRoot, tag: Tag) -> Result<(), AttachError> {
        self.alive()?;
        let new = self.translated(root, tag).filter(|_| self.is_here(source));
        let new = new.ok_or(AttachError::Refused)?;
        let replaced = self.replace(source, Missing::Make, new);
        Ok(replaced.ok_or(AttachError::Refused)??)
    }

    fn block(&self, source: SourceId) -> Result<(), UnitError> {
        self.alive()?;
        if !self.is_here(source) {
            return Err(UnitError);
        }
        // Without a context table it is blocked already.
        self.replace(source, Missing::Leave, entry::BLOCKED).unwrap_or(Ok(()))
    }

    fn invalidate(&self, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        self.alive()?;
        self.invalidate_now(tag, what)
    }

    fn sync_map(&self, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        self.alive()?;
        if self.has(UnitFeatures::CACHES_NOT_PRESENT) {
            // What was not present may have been an entry above the leaves. This flushes the write buffer,
            // too (section 6.8).
            self.invalidate_now(tag, Invalidation::Tables(range))
        } else if self.has(UnitFeatures::WRITE_BUFFER) && self.is_on() {
            self.flush_write_buffer()
        } else {
            Ok(())
        }
    }

    fn stop(&self, source: SourceId) {
        if !self.is_here(source) {
            return;
        }
        let Some(old) = self.change(source, Missing::MakeAtOnce, entry::stopped) else { return };
        if !self.is_on() {
            return;
        }
        // First, and against `submit`, which looks for it when it has given the lock back.
        self.owed.owe();
        full_fence();
        let commands =
            [descriptor::context(entry::tag(old), requester(source)), self.drains().all()];
        // If nothing is posted, whoever has the lock does it, and else the next.
        let _ = self.alive().is_ok() && self.queue.post(&self.port(), &commands);
    }

    fn restart(&self, source: SourceId) {
        if !self.is_here(source) {
            return;
        }
        if let Some(old) = self.change(source, Missing::Leave, entry::restarted) {
            // A unit that did not do it has failed, which the next call is told.
            let _ = self.forget(source, old, entry::restarted(old));
        }
    }

    fn next_event(&self) -> Option<Event> {
        // What has stopped the queue goes on also if nobody waits for it.
        let _ = self.port().recover();
        match self.recovery.take_seen() {
            0 => self.records.take(&self.io.registers, self.settings.segment),
            errors => Some(Event::Unit(errors)),
        }
    }

    fn isolates_interrupts(&self) -> bool {
        self.io.status().is_some_and(|status| {
            status.contains(Global::INTERRUPTS) && !status.contains(Global::OLD_INTERRUPTS)
        })
    }

    fn suspend(&self) -> Result<(), UnitError> {
        if !self.is_on() {
            return Ok(());
        }
        self.alive()?;
        self.submit(&[])?;
        self.forget_all()
    }

    fn resume(&self) -> Result<(), UnitError> {
        self.enable().map_err(|_| self.fail())?;
        // One that failed before translates again, with nobody to change its tables.
        self.alive()
    }

    fn crash_shutdown(&self) {
        self.shut_down();
    }
}
