//! The registers of a unit with a clock: one command at a time, and no wait without an end.

use crate::{
    platform::{Host, RegisterBlock, UnitError},
    sync::{AtomicU64, Mutex, relax},
    unit::vtd::registers::{self, Global},
};

/// Registers, and what they are waited for with.
pub(super) struct Io<'m, R, H> {
    pub(super) registers: R,
    host: &'m H,
    /// The longest that one thing is waited for, in microseconds.
    timeout_us: u64,
    /// Its walks do not snoop: what they read is written back.
    writes_back: bool,
    /// Held while the global command register is in use.
    pub(super) global: Mutex<()>,
}

impl<'m, R: RegisterBlock, H: Host> Io<'m, R, H> {
    pub(super) fn new(registers: R, host: &'m H, timeout_us: u64, writes_back: bool) -> Self {
        Self { registers, host, timeout_us, writes_back, global: Mutex::new(()) }
    }

    /// True for as long as one thing is waited for, from now on.
    pub(super) fn patience(&self) -> impl FnMut() -> bool {
        let begin = self.host.now_us();
        move || self.host.now_us().saturating_sub(begin) < self.timeout_us
    }

    /// Waits until `it` is so. It is looked at once more when time is over.
    pub(super) fn until(&self, mut it: impl FnMut() -> bool) -> Result<(), UnitError> {
        let mut patience = self.patience();
        loop {
            let patient = patience();
            if it() {
                return Ok(());
            }
            if !patient {
                return Err(UnitError);
            }
            relax();
        }
    }

    /// Makes `words`, which the unit's walks read, visible to them.
    pub(super) fn write_back(&self, words: &[AtomicU64]) {
        if self.writes_back {
            self.host.write_back(words);
        }
    }

    /// The global status; `None` if nobody answers.
    pub(super) fn status(&self) -> Option<Global> {
        let status = self.registers.read32(registers::GLOBAL_STATUS);
        // Some of its bits are always zero.
        (status != u32::MAX).then(|| Global::from_bits_retain(status))
    }

    /// Switches `what` on or off, and waits until it is so. The others stay as they are (section
    /// 11.4.4.1: one at a time).
    pub(super) fn switch(&self, what: Global, on: bool) -> Result<(), UnitError> {
        let mut command = self.kept()?;
        command.set(what, on);
        self.command(command);
        self.until_status(what, on)
    }

    /// Has the unit do `what` once, and waits until its status says `done`.
    pub(super) fn once(&self, what: Global, done: bool) -> Result<(), UnitError> {
        self.command(self.kept()?.union(what));
        self.until_status(what, done)
    }

    /// Flushes the write buffer, so that table stores before are seen by the unit (section 6.8).
    pub(super) fn flush_write_buffer(&self) -> Result<(), UnitError> {
        self.once(Global::WRITE_BUFFER, false)
    }

    fn kept(&self) -> Result<Global, UnitError> {
        let kept = Global::from_bits_retain(Global::STAYS);
        self.status().map(|status| status.intersection(kept)).ok_or(UnitError)
    }

    fn command(&self, command: Global) {
        self.registers.write32(registers::GLOBAL_COMMAND, command.bits());
    }

    fn until_status(&self, what: Global, set: bool) -> Result<(), UnitError> {
        self.until(|| self.status().is_some_and(|status| status.contains(what) == set))
    }
}
