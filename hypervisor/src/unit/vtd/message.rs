//! The unit's own interrupt, which says that there is something to ask
//! [`next_event`](crate::unit::Driver::next_event) for (section 11.4.7).

use crate::{
    platform::{Host, RegisterBlock},
    sync::{AtomicU64, Ordering},
    unit::vtd::{Vtd, registers},
};

/// What is remembered of the message, for after the machine slept.
pub(super) struct Message {
    address: AtomicU64,
    /// The data, and [`IS_SET`].
    data: AtomicU64,
}

/// There is a message.
const IS_SET: u64 = 1 << 32;

impl Message {
    pub(super) fn new() -> Self {
        Self { address: AtomicU64::new(0), data: AtomicU64::new(0) }
    }
}

impl<R: RegisterBlock, H: Host> Vtd<'_, R, H> {
    /// Has the unit send its interrupt, when it has recorded a fault, as a write of `data` to `address`,
    /// as a device's MSI; or, with `None`, not at all, as it is at first. By one CPU at a time.
    ///
    /// It is not remapped. It is sent again only after [`Driver::next_event`](crate::unit::Driver::next_event)
    /// has said `None`.
    pub fn set_interrupt_message(&self, message: Option<(u64, u32)>) {
        let (address, data) =
            message.map_or((0, 0), |(address, data)| (address, IS_SET | u64::from(data)));
        self.message.address.store(address, Ordering::Relaxed);
        self.message.data.store(data, Ordering::Relaxed);
        self.restore_message();
    }

    pub(super) fn restore_message(&self) {
        let registers = &self.io.registers;
        let address = self.message.address.load(Ordering::Relaxed);
        let data = self.message.data.load(Ordering::Relaxed);
        // Masked while it is half written.
        registers.write32(registers::FAULT_CONTROL, registers::FAULT_MASKED);
        if data & IS_SET != 0 {
            registers.write32(registers::FAULT_DATA, data as u32);
            registers.write32(registers::FAULT_ADDRESS, address as u32);
            registers.write32(registers::FAULT_UPPER_ADDRESS, (address >> 32) as u32);
            registers.write32(registers::FAULT_CONTROL, 0);
        }
    }
}
