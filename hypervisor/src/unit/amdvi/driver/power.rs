//! How a unit is switched on, whatever it did before, and off.
//!
//! # No device is let through on the way
//!
//! A unit that is off lets everything pass; nothing can be done about that here, so bus masters are to be off
//! until it is on. A unit that is *on*, because firmware or a kernel before left it so, is never switched
//! off. It goes on by the old device table until it is shown the new one, by one store to a register; from
//! there on every entry it reads is of the new table, in which all devices are blocked; and what it has cached
//! of the old one it uses until it was told to forget everything, which is before anybody is told that it is
//! up. So what a device can reach becomes less at each step, and never more. (The specification asks that
//! what is cached be invalidated when the device table changes, section 3.4.1, and that rings rest while theirs
//! do, sections 3.4.2 and 3.4.3. Linux takes units of a crashed kernel over in the same way.)
//!
//! Devices that firmware still uses, a screen for instance, are blocked from then on until they are attached.

use super::{
    AmdVi,
    alone::Alone,
    everything,
    patience::Patience,
    registers::{Control, Status},
};
use crate::platform::UnitError;

impl AmdVi<'_> {
    /// Switches the unit on with what is in memory, and has it forget everything it knew.
    pub(super) fn switch_on(&self) -> Result<(), UnitError> {
        if self.registers.are_absent() {
            return Err(UnitError);
        }
        let patience = Patience::new(self.host, self.timeout_us);
        self.rest(&patience)?;
        let table = self.table.memory();
        self.registers.set_device_table(table.address(), table.pages());
        self.registers.clear_exclusion();
        self.registers.clear_status(Status::CLEARED_BY_ONE);
        self.commands.restart();
        self.registers.set_commands(self.commands.ring());
        self.log.clear();
        self.registers.set_event_log(self.log.ring());
        self.registers.set_control(self.control);
        let run = Status::COMMANDS_RUN | Status::EVENT_LOG_RUNS;
        patience.until(|| self.registers.status().contains(run))?;
        self.commands.forget_everything(&self.capability, self.table.entries())
    }

    /// Has the unit neither fetch commands nor write to logs. Whether it is on stays as it is.
    fn rest(&self, patience: &Patience<'_>) -> Result<(), UnitError> {
        self.registers.set_control(self.registers.control() - Control::RINGS);
        patience.until(|| !self.registers.status().intersects(Status::RINGS))
    }

    /// Blocks everything, has everything forgotten, and switches the unit off, for a kernel that knows
    /// nothing of it. Takes no lock.
    pub(super) fn switch_off(&self) {
        if self.registers.are_absent() {
            return;
        }
        // Whatever is cached again after it was forgotten is that all are blocked.
        self.table.block_all();
        let patience = Patience::new(self.host, self.timeout_us);
        // A unit that does not answer is switched off all the same.
        let _ = self.forget_alone(&patience);
        let _ = self.rest(&patience);
        self.registers.set_control(Control::empty());
    }

    fn forget_alone(&self, patience: &Patience<'_>) -> Result<(), UnitError> {
        self.rest(patience)?;
        self.registers.set_commands(self.commands.ring());
        self.registers.set_control(self.control - Control::EVENT_LOG);
        patience.until(|| self.registers.status().contains(Status::COMMANDS_RUN))?;
        let mut alone = Alone {
            registers: self.registers,
            ring: self.commands.memory(),
            status: self.commands.status(),
            write_back: self.write_back,
            tail: 0,
        };
        let all = everything::commands(self.capability.invalidates_all(), self.table.entries());
        alone.ask(all, patience)
    }
}
