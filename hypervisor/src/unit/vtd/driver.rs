//! One VT-d unit, driven.
use core::fmt;

use crate::{
    addr::PAGE_SHIFT,
    platform::{
        Host, Invalidation, RegisterBlock, SourceId, TableRoot, TableShape, Tag, UnitError,
        UnitFacts, UnitFeatures,
    },
    sync::{AtomicU64, Mutex, Ordering, full_fence},
    unit::{
        Command,
        owed::Owed,
        queue::Queue,
        vtd::{
            blocks,
            capabilities::Capabilities,
            descriptor::{self, Drains},
            entry::{self, Entry},
            faults::Records,
            interrupts::IrqTable,
            io::Io,
            message::Message,
            port::{Port, Recovery},
            settings::{BringUpError, Settings, VtdMemory, check, queue_order},
            tables::{Missing, Tables},
        },
    },
};

/// A VT-d unit.
///
/// ```text
///  attach, block ─► entry of a context table (one store) ─► queue: forget the entry, then its tag; drain
///  invalidate ────► queue: blocks of pages, or the domain; drain
///  stop ──────────► entry, then the queue if nobody is in the way; else whoever comes next
/// ```
pub struct Vtd<'m, R, H> {
    pub(super) io: Io<'m, R, H>,
    pub(super) capabilities: Capabilities,
    pub(super) facts: UnitFacts,
    pub(super) settings: Settings,
    pub(super) memory: VtdMemory<'m>,
    pub(super) tables: Tables<'m>,
    pub(super) queue: Queue<'m>,
    pub(super) recovery: Recovery,
    pub(super) records: Records,
    /// Not zero once its queue is on: before, nothing is cached of its tables.
    pub(super) on: AtomicU64,
    /// Not zero once it did not do in time what it was asked.
    failed: AtomicU64,
    /// Entries of devices that were stopped, to be forgotten.
    pub(super) owed: Owed,
    pub(super) interrupts: Mutex<Option<IrqTable>>,
    pub(super) message: Message,
}

impl<'m, R: RegisterBlock, H: Host> Vtd<'m, R, H> {
    /// A unit whose tables let nobody pass, and which does not know of them yet: devices can be attached
    /// before [`enable`](Self::enable), so that DMA to reserved ranges goes on when firmware left
    /// translation on. Nothing is written to its registers.
    ///
    /// # Errors
    /// [`BringUpError`] says what is wrong with the unit or with what was given.
    pub fn prepare(
        registers: R,
        host: &'m H,
        memory: VtdMemory<'m>,
        settings: Settings,
    ) -> Result<Self, BringUpError> {
        let capabilities = Capabilities::read(&registers).ok_or(BringUpError::Absent)?;
        let facts = capabilities.facts(settings.quirks, settings.host_address_bits);
        check(&capabilities, &facts, &memory, &settings)?;
        let writes_back = !facts.features.contains(UnitFeatures::COHERENT);
        let io = Io::new(registers, host, settings.timeout_us, writes_back);
        let tables = Tables::new(memory.root, memory.contexts, |words| io.write_back(words));
        // The unit reads and writes these coherently, always (section 11.4.3, C).
        let ring = 512usize.wrapping_shl(queue_order(&memory.queue));
        let ring = memory.queue.words().get(..ring).unwrap_or_default();
        let status = memory.status.words().get(..settings.cpus.max(1)).unwrap_or_default();
        let queue = Queue::new(ring, status).map_err(|small| BringUpError::TooSmall {
            entries: small.needed,
            status: settings.cpus.max(1),
        })?;
        let records = Records::new(capabilities.fault_records());
        Ok(Self {
            io,
            capabilities,
            facts,
            settings,
            memory,
            tables,
            queue,
            recovery: Recovery::new(),
            records,
            on: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            owed: Owed::new(),
            interrupts: Mutex::new(None),
            message: Message::new(),
        })
    }

    /// A unit that translates, and lets nobody pass: [`prepare`](Self::prepare) and
    /// [`enable`](Self::enable).
    ///
    /// # Errors
    /// [`BringUpError`] says what is wrong with the unit or with what was given, or where it stopped.
    pub fn bring_up(
        registers: R,
        host: &'m H,
        memory: VtdMemory<'m>,
        settings: Settings,
    ) -> Result<Self, BringUpError> {
        let unit = Self::prepare(registers, host, memory, settings)?;
        unit.enable()?;
        Ok(unit)
    }

    /// What the unit says that it can do.
    #[must_use]
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(super) fn has(&self, feature: UnitFeatures) -> bool {
        self.facts.features.contains(feature)
    }

    pub(super) fn drains(&self) -> Drains {
        Drains::new(self.capabilities.drains())
    }

    pub(super) fn port(&self) -> Port<'_, 'm, R> {
        Port {
            registers: &self.io.registers,
            recovery: &self.recovery,
            ring: self.memory.queue,
            status: self.memory.status.address(),
            drains: self.drains(),
        }
    }

    /// From now on every call is an error.
    pub(super) fn fail(&self) -> UnitError {
        self.failed.store(1, Ordering::Release);
        UnitError
    }

    pub(super) fn alive(&self) -> Result<(), UnitError> {
        let failed = self.failed.load(Ordering::Acquire) != 0 || self.queue.has_failed();
        if failed { Err(UnitError) } else { Ok(()) }
    }

    /// Has the unit do `commands` in any order, drained, and what a device was stopped for meanwhile.
    pub(super) fn submit(&self, commands: &[Command]) -> Result<(), UnitError> {
        self.alive()?;
        self.queue.submit(&self.port(), commands, self.io.patience())?;
        // Against `stop`: it stores before it looks for the queue's lock, which is given back by now.
        full_fence();
        // A few times, because it may be an interrupt in the middle of this; then it is the next call's.
        for _ in 0..4 {
            let Some(asked) = self.owed.open() else { break };
            self.forget_all()?;
            self.owed.settle(asked);
        }
        Ok(())
    }

    /// Forgets all that is cached of tables: entries first, then what was found through them.
    pub(super) fn forget_all(&self) -> Result<(), UnitError> {
        for command in [descriptor::CONTEXTS, self.drains().all()] {
            self.queue.submit(&self.port(), &[command], self.io.patience())?;
        }
        Ok(())
    }

    /// True if the unit may have anything cached.
    pub(super) fn is_on(&self) -> bool {
        // Against `enable`, which says so before it has the unit forget all: an entry that was changed
        // before this is seen by it.
        full_fence();
        self.on.load(Ordering::Acquire) != 0
    }

    pub(super) fn flush_write_buffer(&self) -> Result<(), UnitError> {
        self.alive()?;
        let _one = self.io.global.lock();
        self.io.flush_write_buffer().map_err(|_| self.fail())
    }

    /// Puts `new` in the place of what `source` has.
    pub(super) fn replace(
        &self,
        source: SourceId,
        missing: Missing,
        new: Entry,
    ) -> Option<Result<(), UnitError>> {
        let old = self.change(source, missing, |old| entry::replaced(old, new))?;
        Some(self.forget(source, old, entry::replaced(old, new)))
    }

    pub(super) fn change(
        &self,
        source: SourceId,
        missing: Missing,
        change: impl Fn(Entry) -> Entry,
    ) -> Option<Entry> {
        self.tables.change(source, missing, |words| self.io.write_back(words), change)
    }

    /// Has the unit forget that the entry of `source` was `old`: what is cached of it is known by the tag in
    /// it, and what was translated by it has drained when that is forgotten.
    pub(super) fn forget(&self, source: SourceId, old: Entry, new: Entry) -> Result<(), UnitError> {
        if !self.is_on() {
            return Ok(());
        }
        let id = requester(source);
        if entry::is_present(old) {
            self.forget_entry(entry::tag(old), id, entry::tag(old))
        } else if entry::is_present(new) && self.has(UnitFeatures::CACHES_NOT_PRESENT) {
            // That it was not present is cached under domain 0 (section 6.1).
            self.forget_entry(Tag(0), id, entry::tag(new))
        } else if entry::is_present(new) && self.has(UnitFeatures::WRITE_BUFFER) {
            self.flush_write_buffer()?;
            self.submit(&[])
        } else {
            self.submit(&[])
        }
    }

    fn forget_entry(&self, cached: Tag, id: u16, translations: Tag) -> Result<(), UnitError> {
        // One after the other: else the unit may do both at once, and look up the old entry for what it
        // has just forgotten.
        self.submit(&[descriptor::context(cached, id)])?;
        self.submit(&[self.drains().domain(translations)])
    }

    /// Which descriptors forget what was asked for.
    fn selected(&self, tag: Tag, what: Invalidation) -> (Command, Option<Command>) {
        let drains = self.drains();
        let domain = (drains.domain(tag), None);
        let (range, leaves_only) = match what {
            Invalidation::Leaves(range) => (range, true),
            Invalidation::Tables(range) => (range, false),
            Invalidation::Everything => return domain,
        };
        let page_bits = u32::from(self.facts.bus_address_bits).saturating_sub(PAGE_SHIFT);
        let beyond = range.last().0.checked_shr(page_bits).unwrap_or(0) != 0;
        match self.capabilities.page_selective(self.settings.quirks) {
            Some(longest) if !beyond => match blocks::that_hold(range, longest) {
                Some((one, two)) => (
                    drains.pages(tag, one, leaves_only),
                    two.map(|two| drains.pages(tag, two, leaves_only)),
                ),
                None => domain,
            },
            _ => domain,
        }
    }

    pub(super) fn invalidate_now(&self, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        if !self.is_on() {
            return Ok(());
        }
        match self.selected(tag, what) {
            (one, None) => self.submit(&[one]),
            (one, Some(two)) => self.submit(&[one, two]),
        }
    }

    /// The entry that has `source` translated; `None` if the unit cannot.
    pub(super) fn translated(&self, root: TableRoot, tag: Tag) -> Option<Entry> {
        let shape = TableShape { format: self.facts.format, levels: root.levels };
        let page_bits = u32::from(self.facts.host_address_bits).saturating_sub(PAGE_SHIFT);
        let reached = root.frame.0.checked_shr(page_bits).unwrap_or(0) == 0;
        let known = tag.0 != 0 && u32::from(tag.0) < self.facts.tags;
        (self.facts.walks(shape) && reached && known).then(|| entry::translated(root, tag))?
    }

    pub(super) fn is_here(&self, source: SourceId) -> bool {
        source.0.seg == self.settings.segment
    }
}

/// The id as descriptors name it.
pub(super) const fn requester(source: SourceId) -> u16 {
    (source.0.bus as u16) << 8 | source.0.devfn as u16
}

impl<R, H> fmt::Debug for Vtd<'_, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capabilities, facts, settings, .. } = self;
        f.debug_struct("Vtd")
            .field("capabilities", capabilities)
            .field("facts", facts)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}
