//! Switching a unit on, whatever firmware or sleep has left it in (section 11.4.4 and chapter 6).
//!
//! ```text
//!  firmware's queue drained, off ─► our queue on ─► root table ─► forget all ─► translation on
//!    ─► protected memory free ─► interrupts, if we had a table
//! ```
//!
//! Where translation was on it stays on: from one instruction to the next the unit takes the new root
//! table instead of the old one, in which only those pass that were attached before. Memory that firmware
//! has protected is given free last. Interrupts that firmware remaps go on as they are until the embedder
//! gives a table.

use crate::{
    platform::{Host, RegisterBlock, UnitError, UnitFeatures},
    sync::{Ordering, full_fence},
    unit::vtd::{
        Vtd,
        descriptor::ALL_INTERRUPTS,
        registers::{self, Global},
        settings::{BringUpError, Step, queue_order},
    },
};

impl<R: RegisterBlock, H: Host> Vtd<'_, R, H> {
    /// Has the unit translate by its tables, without a moment in which it does not translate if it did
    /// before. No other call may run meanwhile, but those for the operator.
    ///
    /// # Errors
    /// [`BringUpError`]: where it stopped.
    pub fn enable(&self) -> Result<(), BringUpError> {
        let _one = self.io.global.lock();
        let status = self.io.status().ok_or(BringUpError::Absent)?;
        let root = self.io.registers.read64(registers::ROOT_TABLE);
        if status.contains(Global::TRANSLATION) && root & registers::TABLE_MODE != 0 {
            return Err(BringUpError::OtherMode(root));
        }
        if status.contains(Global::FAULT_LOG) {
            step(Step::FaultLog, self.io.switch(Global::FAULT_LOG, false))?;
        }
        self.quiet_former_queue(status)?;
        self.records.clear(&self.io.registers);
        if !self.queue.has_failed() {
            self.start_queue()?;
        }
        // Before anything is forgotten: who changes an entry from now on has that forgotten, too.
        self.on.store(1, Ordering::Release);
        full_fence();
        self.install_root()?;
        step(Step::Invalidation, self.forget_everything())?;
        step(Step::Translation, self.io.switch(Global::TRANSLATION, true))?;
        step(Step::ProtectedMemory, self.free_protected_memory())?;
        self.restore_message();
        step(Step::Interrupts, self.restore_interrupts())
    }

    /// Lets the queue finish that firmware has left on, and switches it off.
    fn quiet_former_queue(&self, status: Global) -> Result<(), BringUpError> {
        if !status.contains(Global::QUEUE) {
            return Ok(());
        }
        let registers = &self.io.registers;
        // One that does not finish is off all the same then; all is forgotten later.
        let _ = self.io.until(|| {
            registers.read64(registers::QUEUE_HEAD) == registers.read64(registers::QUEUE_TAIL)
        });
        step(Step::FormerQueue, self.io.switch(Global::QUEUE, false))
    }

    fn start_queue(&self) -> Result<(), BringUpError> {
        self.queue.restart();
        let registers = &self.io.registers;
        // The head begins at 0 when the queue is switched on (section 11.4.9).
        registers.write64(registers::QUEUE_TAIL, 0);
        // DW is 0: entries of 128 bits.
        let size = u64::from(queue_order(&self.memory.queue));
        registers.write64(registers::QUEUE_ADDRESS, self.memory.queue.address() | size);
        step(Step::Queue, self.io.switch(Global::QUEUE, true))
    }

    fn install_root(&self) -> Result<(), BringUpError> {
        if self.has(UnitFeatures::WRITE_BUFFER) {
            step(Step::WriteBuffer, self.io.flush_write_buffer())?;
        }
        // TTM is 00: legacy mode.
        self.io.registers.write64(registers::ROOT_TABLE, self.tables.root_address());
        step(Step::RootTable, self.io.once(Global::ROOT_TABLE, true))
    }

    fn forget_everything(&self) -> Result<(), UnitError> {
        if self.queue.has_failed() {
            return self.forget_by_registers();
        }
        self.forget_all()?;
        if self.capabilities.remaps_interrupts() {
            self.submit(&[ALL_INTERRUPTS])?;
        }
        Ok(())
    }

    /// Section 11.4.8: firmware may have protected memory until translation is on.
    fn free_protected_memory(&self) -> Result<(), UnitError> {
        if !self.capabilities.protects_memory() {
            return Ok(());
        }
        let registers = &self.io.registers;
        let enabled = registers.read32(registers::PROTECTED_MEMORY);
        if enabled & (registers::PROTECT | registers::PROTECTED) == 0 {
            return Ok(());
        }
        registers.write32(registers::PROTECTED_MEMORY, enabled & !registers::PROTECT);
        self.io.until(|| registers.read32(registers::PROTECTED_MEMORY) & registers::PROTECTED == 0)
    }
}

fn step(step: Step, done: Result<(), UnitError>) -> Result<(), BringUpError> {
    done.map_err(|_| BringUpError::NoAnswer(step))
}
