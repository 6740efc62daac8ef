//! The command buffer: the ring of [`Queue`], with the unit at its other end (section 2.4).

use super::{
    everything,
    patience::Patience,
    registers::{Registers, Ring},
    write_back::WriteBack,
};
use crate::{
    platform::{Host, UnitError, UnitMemory},
    sync::{AtomicU64, Ordering},
    unit::{
        Command,
        amdvi::{Capability, command},
        queue::{Queue, Registers as UnitSide, RingTooSmall},
    },
};

pub(super) struct CommandBuffer<'m> {
    queue: Queue<'m>,
    unit: Unit<'m>,
    host: &'m dyn Host,
    timeout_us: u64,
}

/// The unit, as the queue sees it.
struct Unit<'m> {
    registers: Registers<'m>,
    ring: UnitMemory<'m>,
    /// What it writes when it is done.
    status: UnitMemory<'m>,
    write_back: WriteBack<'m>,
    /// The tail that the unit was told last. Changed under the lock of the queue.
    tail: AtomicU64,
}

/// Commands that are submitted in one piece while everything is forgotten one by one.
const PIECE: usize = 32;

impl<'m> CommandBuffer<'m> {
    /// `ring` has a power of two of entries; `cpus` of the words of `status` are used.
    pub(super) fn new(
        registers: Registers<'m>,
        (ring, status): (UnitMemory<'m>, UnitMemory<'m>),
        cpus: usize,
        (host, write_back, timeout_us): (&'m dyn Host, WriteBack<'m>, u64),
    ) -> Result<Self, RingTooSmall> {
        let words = status.words().get(..cpus).unwrap_or(&[]);
        let queue = Queue::new(ring.words(), words)?;
        let unit = Unit { registers, ring, status, write_back, tail: AtomicU64::new(0) };
        Ok(Self { queue, unit, host, timeout_us })
    }

    /// The ring, as the unit is told of it.
    pub(super) fn ring(&self) -> Ring {
        ring_of(self.unit.ring)
    }

    pub(super) fn memory(&self) -> UnitMemory<'m> {
        self.unit.ring
    }

    pub(super) fn status(&self) -> UnitMemory<'m> {
        self.unit.status
    }

    /// Begins at the first entry again, as the unit does. Nobody submits meanwhile.
    pub(super) fn restart(&self) {
        self.unit.tail.store(0, Ordering::Relaxed);
        self.queue.restart();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.queue.has_failed()
    }

    /// Has the unit do `commands`, and waits until they are done and drained.
    pub(super) fn submit(&self, commands: &[Command]) -> Result<(), UnitError> {
        let patience = Patience::new(self.host, self.timeout_us);
        self.queue.submit(&self.unit, commands, || patience.lasts())
    }

    /// Has the unit do `commands` some time, if that takes no waiting.
    pub(super) fn post(&self, commands: &[Command]) -> bool {
        self.queue.post(&self.unit, commands)
    }

    /// Has the unit forget everything, of so many devices and of all tags.
    pub(super) fn forget_everything(
        &self,
        capability: &Capability,
        devices: u32,
    ) -> Result<(), UnitError> {
        let mut piece: heapless::Vec<Command, PIECE> = heapless::Vec::new();
        for command in everything::commands(capability.invalidates_all(), devices) {
            if piece.is_full() {
                self.submit(&piece)?;
                piece.clear();
            }
            // There is room now.
            let _ = piece.push(command);
        }
        self.submit(&piece)
    }
}

/// A ring in `memory`, whose pages are a power of two.
pub(super) fn ring_of(memory: UnitMemory<'_>) -> Ring {
    // 256 entries a page.
    let pages_log2 = memory.pages().checked_ilog2().unwrap_or(0);
    Ring { address: memory.address(), entries_log2: pages_log2.saturating_add(8) }
}

impl UnitSide for Unit<'_> {
    fn head(&self) -> Result<usize, UnitError> {
        let head = self.registers.command_head()?;
        // After the last entry QEMU's unit tells the end of the ring until it has done the first one.
        let entries = self.ring.words().len() / 2;
        Ok(if head == entries { 0 } else { head })
    }

    fn set_tail(&self, entry: usize) {
        let from = usize::try_from(self.tail.swap(entry as u64, Ordering::Relaxed)).unwrap_or(0);
        let words = self.ring.words();
        let part = |from: usize, to: usize| {
            let (from, to) = (from.saturating_mul(2), to.saturating_mul(2));
            self.write_back.words(words.get(from..to).unwrap_or(&[]));
        };
        if from <= entry {
            part(from, entry);
        } else {
            part(from, words.len() / 2);
            part(0, entry);
        }
        self.registers.set_command_tail(entry);
    }

    fn wait_command(&self, status: usize, cookie: u32) -> Command {
        let offset = (status as u64).saturating_mul(8);
        command::wait(self.status.address().saturating_add(offset), cookie.into())
    }
}
