//! What is done without the queue: to switch a unit off after a crash, and to have it forget by its
//! registers, which it takes only while its queue is off (section 11.4.6).

use crate::{
    platform::{Host, RegisterBlock, UnitError},
    unit::vtd::{
        Vtd,
        registers::{self, Global},
    },
};

impl<R: RegisterBlock, H: Host> Vtd<'_, R, H> {
    /// See [`Driver::crash_shutdown`](crate::unit::Driver::crash_shutdown). Takes no lock: whoever has it
    /// may never run again. Each step is tried, whatever became of the one before.
    pub(super) fn shut_down(&self) {
        for what in [Global::TRANSLATION, Global::INTERRUPTS, Global::QUEUE] {
            let _ = self.io.switch(what, false);
        }
        let _ = self.forget_by_registers();
    }

    /// All entries of tables, and all that was found through them.
    pub(super) fn forget_by_registers(&self) -> Result<(), UnitError> {
        let translations =
            self.capabilities.iotlb_registers().saturating_add(registers::IOTLB_AFTER_ADDRESS);
        self.command(registers::CONTEXT_COMMAND, registers::FORGET_CONTEXTS)?;
        // Drains that the unit does not have are ignored (section 11.4.6).
        self.command(translations, registers::FORGET_TRANSLATIONS)
    }

    fn command(&self, register: usize, command: u64) -> Result<(), UnitError> {
        self.io.registers.write64(register, command);
        self.io.until(|| {
            let answer = self.io.registers.read64(register);
            answer & registers::FORGETTING == 0
        })
    }
}
