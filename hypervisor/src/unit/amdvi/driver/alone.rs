//! Commands after a crash: by the only CPU that still runs, without the queue, whose lock may be held by one
//! that never will.

use super::{patience::Patience, registers::Registers, write_back::WriteBack};
use crate::{
    platform::{UnitError, UnitMemory},
    unit::{Command, amdvi::command},
};

/// The ring, as if there were no queue. The unit has its head and tail at entry 0.
pub(super) struct Alone<'m> {
    pub(super) registers: Registers<'m>,
    pub(super) ring: UnitMemory<'m>,
    /// Its first word is written by the unit.
    pub(super) status: UnitMemory<'m>,
    pub(super) write_back: WriteBack<'m>,
    pub(super) tail: usize,
}

/// Not a cookie of the queue: those have 32 bits.
const COOKIE: u64 = 1 << 32;

impl Alone<'_> {
    /// Has the unit do all `commands`, as many at a time as there is room for, and waits until all are done.
    pub(super) fn ask(
        &mut self,
        commands: impl Iterator<Item = Command>,
        patience: &Patience<'_>,
    ) -> Result<(), UnitError> {
        // One entry stays empty, and one is for the wait.
        let room = (self.ring.words().len() / 2).saturating_sub(2);
        let mut stored: usize = 0;
        for command in commands {
            self.store(command);
            stored = stored.saturating_add(1);
            if stored >= room {
                self.wait(patience)?;
                stored = 0;
            }
        }
        self.wait(patience)
    }

    /// Waits until all is done that is stored.
    fn wait(&mut self, patience: &Patience<'_>) -> Result<(), UnitError> {
        self.status.store(0, 0);
        self.store(command::wait(self.status.address(), COOKIE));
        self.registers.set_command_tail(self.tail);
        patience.until(|| self.status.load(0) == COOKIE)
    }

    fn store(&mut self, [low, high]: Command) {
        let first = self.tail.saturating_mul(2);
        let next = first.saturating_add(2);
        self.ring.store(first, low);
        self.ring.store(first.saturating_add(1), high);
        self.write_back.words(self.ring.words().get(first..next).unwrap_or(&[]));
        self.tail = if next < self.ring.words().len() { next / 2 } else { 0 };
    }
}
