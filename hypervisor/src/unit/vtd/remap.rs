//! Interrupt remapping by the embedder's table (section 5.1): taken over, and forgotten in part.

use crate::{
    platform::{Host, RegisterBlock, UnitError},
    unit::vtd::{
        Vtd, descriptor,
        interrupts::{IrqTable, IrqTableError},
        registers::{self, Global},
    },
};

impl<R: RegisterBlock, H: Host> Vtd<'_, R, H> {
    /// Has the unit remap interrupts by `table`, and let none of the old format pass. If it remaps by
    /// another one, it goes over to this one without a moment between. It does so again after
    /// [`resume`](crate::unit::Driver::resume).
    ///
    /// The table is the embedder's: whole, written back if walks of the unit do not snoop, and there for as
    /// long as the unit is on. Before [`enable`](Self::enable) it is only remembered.
    ///
    /// # Errors
    /// [`IrqTableError`] says what is in force.
    pub fn set_irq_table(&self, table: IrqTable) -> Result<(), IrqTableError> {
        let can = self.capabilities.remaps_interrupts()
            && (!table.x2apic || self.capabilities.remaps_to_x2apic());
        if !can {
            return Err(IrqTableError::NotSupported);
        }
        table.word(self.facts.host_address_bits).ok_or(IrqTableError::BadTable)?;
        self.alive()?;
        let _one = self.io.global.lock();
        *self.interrupts.lock() = Some(table);
        if !self.is_on() {
            return Ok(());
        }
        Ok(self.restore_interrupts().map_err(|_| self.fail())?)
    }

    /// Tells the unit the table that it was given, if any. The global register is the caller's.
    pub(super) fn restore_interrupts(&self) -> Result<(), UnitError> {
        let Some(table) = *self.interrupts.lock() else { return Ok(()) };
        let Some(word) = table.word(self.facts.host_address_bits) else { return Err(UnitError) };
        self.io.registers.write64(registers::INTERRUPT_TABLE, word);
        self.io.once(Global::INTERRUPT_TABLE, true)?;
        self.submit(&[descriptor::ALL_INTERRUPTS])?;
        self.io.switch(Global::OLD_INTERRUPTS, false)?;
        self.io.switch(Global::INTERRUPTS, true)
    }

    /// Has the unit forget what it has cached of entries `first..=last` of its table of interrupts, and
    /// perhaps of more; with `None` of all. When it returns, no interrupt is on its way by a former entry.
    ///
    /// # Errors
    /// [`UnitError`]: anything may still be cached.
    pub fn invalidate_interrupts(&self, entries: Option<(u16, u16)>) -> Result<(), UnitError> {
        if !self.is_on() || !self.capabilities.remaps_interrupts() {
            return Ok(());
        }
        let command = match entries {
            None => descriptor::ALL_INTERRUPTS,
            Some((first, last)) => self.interrupt_entries(first, last),
        };
        self.submit(&[command])
    }

    /// One descriptor for the smallest block that holds both, if there is one that the unit takes.
    fn interrupt_entries(&self, first: u16, last: u16) -> [u64; 2] {
        let order = u16::BITS.saturating_sub((first ^ last).leading_zeros());
        if order > self.capabilities.max_interrupt_mask() {
            return descriptor::ALL_INTERRUPTS;
        }
        let inside = 1u16.checked_shl(order).map_or(u16::MAX, |size| size.wrapping_sub(1));
        descriptor::interrupts(first & !inside, order)
    }
}
