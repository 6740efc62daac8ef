//! What a context maps.

use std::collections::BTreeMap;

use pviommu_abi::{Bfn, ContextId, DomId, Errno, Gfn, MapFlags};

use super::machine::Machine;

/// Where writes are interrupts.
const INTERRUPT_WINDOW: (Bfn, Bfn) = (Bfn(0xfee00), Bfn(0xfeeff));

/// Whose page is mapped, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Own(Gfn),
    Foreign(DomId, Gfn),
    Grant(DomId, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) page: Page,
    pub(crate) access: MapFlags,
}

/// The bus frames of some devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) entries: BTreeMap<Bfn, Entry>,
    /// What was unmapped and not flushed: devices may reach it.
    pub(crate) stale: BTreeMap<Bfn, Entry>,
    /// A flush has failed, so nothing is done any more.
    is_frozen: bool,
}

impl Context {
    /// What a device may find there, today or from before the last flush.
    pub(crate) fn reach(&self, bfn: Bfn) -> Option<Entry> {
        self.stale.get(&bfn).or_else(|| self.entries.get(&bfn)).copied()
    }

    /// Whether a device may reach this frame of the domain somewhere.
    pub(crate) fn reaches(&self, gfn: Gfn) -> bool {
        let mut all = self.entries.values().chain(self.stale.values());
        all.any(|entry| entry.page == Page::Own(gfn))
    }

    /// The bus frames that are mapped, and the domain's frames behind them.
    pub(crate) fn frames(&self) -> Vec<(u64, u64)> {
        let own = self.entries.iter().filter_map(|(bfn, entry)| match entry.page {
            Page::Own(gfn) => Some((bfn.0, gfn.0)),
            Page::Foreign(..) | Page::Grant(..) => None,
        });
        own.collect()
    }
}

impl Machine {
    /// The context; panics if there is none.
    pub(crate) fn context(&mut self, id: ContextId) -> &mut Context {
        self.contexts.get_mut(&id).unwrap()
    }

    /// One that the domain can edit.
    fn editable(&mut self, id: ContextId) -> Result<&mut Context, Errno> {
        self.contexts.get_mut(&id).filter(|_| id != ContextId::DEFAULT).ok_or(Errno::EINVAL)
    }

    /// Whether somebody may map or unmap this bus frame.
    fn check_bfn(&mut self, id: ContextId, bfn: Bfn) -> Result<(), Errno> {
        self.check_frozen(id)?;
        if bfn < self.aperture.0 || bfn > self.aperture.1 {
            return Err(Errno::EINVAL);
        }
        let devices = self.devices.iter().filter(|device| device.context == id);
        let reserved = devices.flat_map(|device| &device.reserved).chain(&self.reserved);
        let mut ranges = reserved.map(|range| (range.first, range.last)).chain([INTERRUPT_WINDOW]);
        match ranges.any(|(first, last)| (first..=last).contains(&bfn)) {
            true => Err(Errno::EADDRNOTAVAIL),
            false => Ok(()),
        }
    }

    pub(super) fn map_page(&mut self, id: ContextId, bfn: Bfn, entry: Entry) -> Result<(), Errno> {
        self.check_bfn(id, bfn)?;
        if !entry.access.intersects(MapFlags::READABLE | MapFlags::WRITEABLE) {
            return Err(Errno::EINVAL);
        }
        match entry.page {
            Page::Own(gfn) | Page::Foreign(_, gfn) => {
                if let Some((_, errno)) = self.bad_frame.filter(|(bad, _)| *bad == gfn) {
                    return Err(errno);
                }
            }
            Page::Grant(owner, reference) => {
                self.grants.get(&(owner, reference)).ok_or(Errno::ENOENT)?;
            }
        }
        if matches!(entry.page, Page::Foreign(..)) && !self.is_hardware_domain {
            return Err(Errno::EPERM);
        }
        let most = self.most_entries.unwrap_or(usize::MAX);
        let context = self.editable(id)?;
        if context.entries.len() >= most {
            return Err(Errno::ENOMEM);
        }
        if context.entries.contains_key(&bfn) {
            return Err(Errno::EADDRINUSE);
        }
        assert!(!context.stale.contains_key(&bfn), "{bfn} was not flushed before it is used again");
        context.entries.insert(bfn, entry);
        Ok(())
    }

    /// Unmaps it; devices reach it until the next flush.
    pub(super) fn unmap_page(&mut self, id: ContextId, bfn: Bfn) -> Result<(), Errno> {
        self.check_bfn(id, bfn)?;
        if let Some(errno) = self.unmap_fails {
            return Err(errno);
        }
        let context = self.editable(id)?;
        let entry = context.entries.remove(&bfn).ok_or(Errno::ENOENT)?;
        context.stale.insert(bfn, entry);
        Ok(())
    }

    /// From now on devices reach nothing that was unmapped.
    pub(super) fn flush(&mut self, id: ContextId) -> Result<(), Errno> {
        self.counts.flushes += 1;
        let outcome = self.flush_fails.map_or(Ok(()), Err);
        let context = self.editable(id)?;
        if outcome.is_err() {
            context.is_frozen = true;
        } else {
            context.stale.clear();
        }
        outcome
    }

    /// Whether the hardware behind a context that the domain can edit has failed before.
    pub(super) fn check_frozen(&mut self, id: ContextId) -> Result<(), Errno> {
        if self.editable(id)?.is_frozen { Err(Errno::EIO) } else { Ok(()) }
    }
}
