//! The device table of a unit: an entry of four words for each id, from id 0 on.
//!
//! It never has an entry that lets requests pass: all are filled in before the unit is shown the table,
//! and every later change replaces an entry by a valid one in one store. Requests with ids beyond its end
//! are refused by the unit (section 2.2.2).
//!
//! It tells nobody what has changed: that is [`CommandBuffer`](super::command_buffer)'s business.

use pviommu_abi::PciDevice;

use super::write_back::WriteBack;
use crate::{
    platform::{SourceId, UnitMemory},
    sync::{AtomicU64, Ordering},
    unit::{
        acpi::DeviceSettings,
        amdvi::{
            device_entry::{self, Translation},
            interrupts::{self, Interrupts},
        },
    },
};

/// Words of an entry.
const ENTRY: usize = 4;
/// The one about interrupts.
const INTERRUPTS: usize = 2;
/// Most pages: for each id an entry.
pub(super) const MAX_PAGES: usize = 512;

#[derive(Clone, Copy)]
pub(super) struct DeviceTable<'m> {
    memory: UnitMemory<'m>,
    segment: u16,
    write_back: WriteBack<'m>,
}

impl<'m> DeviceTable<'m> {
    /// `memory` has at most [`MAX_PAGES`] pages.
    pub(super) fn new(memory: UnitMemory<'m>, segment: u16, write_back: WriteBack<'m>) -> Self {
        Self { memory, segment, write_back }
    }

    pub(super) fn memory(&self) -> UnitMemory<'m> {
        self.memory
    }

    /// Number of its entries: 128 to 65536.
    pub(super) fn entries(&self) -> u32 {
        u32::try_from(self.memory.words().len() / ENTRY).unwrap_or(0)
    }

    /// Fills in all entries, blocked, with what firmware wants of each. The unit does not know of the table.
    pub(super) fn fill(
        &self,
        settings: impl Fn(u16) -> Option<DeviceSettings>,
        interrupts: Interrupts,
    ) {
        const NONE: DeviceSettings = DeviceSettings { data: 0, extended: 0 };
        for (id, entry) in (0..=u16::MAX).zip(self.memory.words().chunks_exact(ENTRY)) {
            let settings = settings(id).unwrap_or(NONE);
            let [low, high] = device_entry::blocked(settings);
            let words = [low, high, interrupts::word(settings, interrupts), 0];
            for (word, value) in entry.iter().zip(words) {
                word.store(value, Ordering::Relaxed);
            }
        }
        self.write_back.words(self.memory.words());
    }

    /// The number of the entry of `source`; `None` if it has none.
    fn id(&self, source: SourceId) -> Option<usize> {
        let id = u16::from_be_bytes([source.0.bus, source.0.devfn]);
        let there = source.0.seg == self.segment && u32::from(id) < self.entries();
        there.then_some(usize::from(id))
    }

    /// True if requests with that id are for this unit to decide about.
    pub(super) fn is_of_segment(&self, source: SourceId) -> bool {
        source.0.seg == self.segment
    }

    /// Changes what is said of the DMA of `source`, from what it is now, in one store; what it was. `None` if
    /// it has no entry.
    pub(super) fn change(
        &self,
        source: SourceId,
        change: impl Fn(Translation) -> Translation,
    ) -> Option<Translation> {
        let id = self.id(source)?;
        // Two pairs an entry; at most 65535 entries are before it.
        let old = self.memory.change_pair(id.checked_mul(2)?, change)?;
        self.write_back.words(self.entry(id)?);
        Some(old)
    }

    /// Changes what is said of the interrupts of `source`, in one store; `None` if it has no entry.
    pub(super) fn set_interrupts(&self, source: SourceId, interrupts: Interrupts) -> Option<()> {
        let entry = self.entry(self.id(source)?)?;
        let change = |old| Some(interrupts::replaced(old, interrupts));
        let word = entry.get(INTERRUPTS)?;
        // Never an error: there is always something to change it to.
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        self.write_back.words(entry);
        Some(())
    }

    /// True if no interrupt of `source` passes as it is.
    pub(super) fn isolates(&self, source: SourceId) -> bool {
        let word = self.id(source).and_then(|id| self.entry(id)?.get(INTERRUPTS));
        word.is_some_and(|word| interrupts::isolates(word.load(Ordering::Acquire)))
    }

    /// True if no interrupt of any id passes as it is.
    pub(super) fn isolates_all(&self) -> bool {
        let mut words = self.memory.words().chunks_exact(ENTRY).map(|entry| entry.get(INTERRUPTS));
        words.all(|word| word.is_some_and(|it| interrupts::isolates(it.load(Ordering::Acquire))))
    }

    /// The devices that were stopped, with what their entries say.
    pub(super) fn stopped(&self) -> impl Iterator<Item = (PciDevice, Translation)> {
        let segment = self.segment;
        let entries = (0..=u16::MAX).zip(self.memory.words().chunks_exact(ENTRY));
        entries.filter_map(move |(id, entry)| {
            let word =
                |number| entry.get(number).map_or(0, |it: &AtomicU64| it.load(Ordering::Acquire));
            let [bus, devfn] = id.to_be_bytes();
            let entry = [word(0), word(1)];
            let stopped = device_entry::is_stopped(entry);
            stopped.then_some((PciDevice { seg: segment, bus, devfn }, entry))
        })
    }

    /// Blocks every device, whatever its entry says. Takes no lock.
    pub(super) fn block_all(&self) {
        for pair in (0..self.memory.words().len() / 2).step_by(ENTRY / 2) {
            let blocked = |old| device_entry::replaced(old, device_entry::BLOCKED);
            let _ = self.memory.change_pair(pair, blocked);
        }
        self.write_back.words(self.memory.words());
    }

    fn entry(&self, id: usize) -> Option<&'m [AtomicU64]> {
        self.memory.words().chunks_exact(ENTRY).nth(id)
    }
}
