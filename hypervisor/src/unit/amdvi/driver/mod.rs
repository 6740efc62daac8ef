//! The driver of one unit.
//!
//! ```text
//!   bring_up, resume, crash_shutdown        attach, invalidate, stop ...        next_event
//!                 │                                     │                           │
//!               power ──────────────┬───────────┐    service                        │
//!                 │                 ▼           ▼       │                           ▼
//!             registers ◄──── command_buffer  device_table                      event_log ─► event
//! ```

mod alone;
mod command_buffer;
mod device_table;
mod event;
mod event_log;
mod everything;
mod patience;
mod power;
mod registers;
mod service;
mod settings;
mod write_back;

pub use settings::{BringUpError, Resources, Settings};

use pviommu_abi::PciDevice;

use super::{
    Capability, Interrupts, IrqEntries, command,
    device_entry::{self, Translation},
};
use crate::{
    platform::{AttachError, Host, Invalidation, SourceId, Tag, UnitError, UnitFacts},
    unit::{
        Command,
        acpi::{DeviceSettings, IvhdFlags},
        owed::Owed,
    },
};
use command_buffer::CommandBuffer;
use device_table::DeviceTable;
use event_log::EventLog;
use registers::{Control, Registers};
use write_back::WriteBack;

/// A unit that is on, with all devices blocked that were not attached.
pub struct AmdVi<'m> {
    registers: Registers<'m>,
    host: &'m dyn Host,
    timeout_us: u64,
    capability: Capability,
    facts: UnitFacts,
    /// What the control register has while the unit is on.
    control: Control,
    table: DeviceTable<'m>,
    commands: CommandBuffer<'m>,
    log: EventLog<'m>,
    write_back: WriteBack<'m>,
    /// Entries of devices that were stopped, to be forgotten.
    owed: Owed,
}

impl<'m> AmdVi<'m> {
    /// Switches the unit on, or takes it over from whoever left it on, without letting a device through. Then
    /// all devices are blocked.
    ///
    /// `of_device` is what firmware wants of the entry of an id:
    /// [`Ivhd::settings_of`](crate::unit::acpi::Ivhd::settings_of).
    ///
    /// # Errors
    /// [`BringUpError`] says why the unit is not in use; nothing behind it may be given away, or do DMA.
    pub fn bring_up(
        resources: Resources<'m>,
        settings: &Settings,
        of_device: impl Fn(u16) -> Option<DeviceSettings>,
    ) -> Result<Self, BringUpError> {
        resources.check(settings)?;
        let Resources { host, device_table, commands, events, status, .. } = resources;
        let registers = Registers(resources.registers);
        if registers.are_absent() {
            return Err(BringUpError::Absent);
        }
        let capability = settings.capability(|| registers.extended_features());
        let facts = capability.facts().ok_or(BringUpError::Unsupported)?;
        resources.check_reach(facts.host_address_bits)?;
        if !capability.remaps(settings.interrupt_entries) {
            return Err(BringUpError::Unsupported);
        }
        let (segment, timeout_us) = (settings.segment, settings.timeout_us);
        let write_back = WriteBack::new(host, capability.is_coherent());
        let table = DeviceTable::new(device_table, segment, write_back);
        table.fill(of_device, settings.interrupts);
        let (rings, rest) = ((commands, status), (host, write_back, timeout_us));
        let commands = CommandBuffer::new(registers, rings, settings.cpus, rest)?;
        let log = EventLog::new(events, segment, (host, timeout_us));
        let control = control(&capability, settings.interrupt_entries);
        let owed = Owed::new();
        let unit = Self {
            registers,
            host,
            timeout_us,
            capability,
            facts,
            control,
            table,
            commands,
            log,
            write_back,
            owed,
        };
        unit.switch_on().map_err(|UnitError| BringUpError::NoAnswer)?;
        Ok(unit)
    }

    /// What the unit said of itself.
    #[must_use]
    pub const fn capability(&self) -> &Capability {
        &self.capability
    }

    /// Says what becomes of the interrupts of `source`, in one step, and has the unit forget what it knew of
    /// them. Says nothing of its DMA, and is not affected by what is said of that.
    ///
    /// The embedder promises that a table is one, and stays one until another was set.
    ///
    /// # Errors
    /// [`AttachError::Refused`]: the device has no entry, or the table has more than 2048 entries;
    /// [`AttachError::Failed`]: the unit has failed.
    pub fn set_interrupts(
        &self,
        source: SourceId,
        interrupts: Interrupts,
    ) -> Result<(), AttachError> {
        if !interrupts.can_be() {
            return Err(AttachError::Refused);
        }
        self.table.set_interrupts(source, interrupts).ok_or(AttachError::Refused)?;
        let device = source.0;
        Ok(self.submit(&[command::forget_device(device), command::forget_interrupts(device)])?)
    }

    /// Has the unit forget what it knew of the interrupt table of `source`, after entries there changed.
    ///
    /// # Errors
    /// [`UnitError`]: it may go by what was there before.
    pub fn forget_interrupts(&self, source: SourceId) -> Result<(), UnitError> {
        self.submit(&[command::forget_interrupts(source.0)])
    }

    /// True if no interrupt of `source` passes that is not remapped: the unit is on with our device table, and
    /// the entry there has an interrupt table or refuses, and lets no INIT, NMI or the like pass.
    #[must_use]
    pub fn isolates_interrupts_of(&self, source: SourceId) -> bool {
        self.is_in_force() && self.table.isolates(source)
    }

    /// True if the unit is on with our device table, by its registers.
    fn is_in_force(&self) -> bool {
        let table = self.table.memory();
        !self.registers.are_absent()
            && self.registers.control().contains(Control::ENABLED)
            && self.registers.device_table()
                == Registers::device_table_word(table.address(), table.pages())
    }

    /// Has the unit do `commands`, and waits; and before, what it was not told when it should have been.
    fn submit(&self, commands: &[Command]) -> Result<(), UnitError> {
        if let Some(asked) = self.owed.open() {
            for (device, entry) in self.table.stopped() {
                self.commands.submit(forgetting(device, entry).as_slice())?;
            }
            self.owed.settle(asked);
        }
        self.commands.submit(commands)
    }

    /// Tells the unit now what it was not told, if nobody else is submitting. It is done before what is
    /// submitted from then on.
    fn settle(&self) {
        let Some(asked) = self.owed.open() else { return };
        if self.table.stopped().all(|(device, entry)| self.post_stop(device, entry)) {
            self.owed.settle(asked);
        }
    }

    /// Tells the unit that `device` was stopped, if that takes no waiting. What is cached under its tag goes,
    /// too: there are units that do not look at an entry where they have a translation (QEMU 7.2).
    fn post_stop(&self, device: PciDevice, entry: Translation) -> bool {
        self.commands.post(forgetting(device, entry).as_slice())
    }
}

/// Has a unit forget the entry of a device, and what is cached under its tag.
fn forgetting(device: PciDevice, entry: Translation) -> heapless::Vec<Command, 2> {
    let mut commands = heapless::Vec::new();
    // There is room for both.
    let _ = commands.push(command::forget_device(device));
    match device_entry::tag(entry) {
        Tag(0) => {}
        tag => _ = commands.push(command::invalidate(tag, Invalidation::Everything)),
    }
    commands
}

/// What the control register is to have.
fn control(capability: &Capability, entries: IrqEntries) -> Control {
    let mut control =
        Control::ENABLED | Control::COMMANDS | Control::EVENT_LOG | Control::EVENT_INTERRUPT;
    let by_firmware = [
        (IvhdFlags::TUNNEL, Control::TUNNEL),
        (IvhdFlags::PASS_POSTED, Control::PASS_POSTED),
        (IvhdFlags::RESPONSE_PASS_POSTED, Control::RESPONSE_PASS_POSTED),
        (IvhdFlags::ISOCHRONOUS, Control::ISOCHRONOUS),
    ];
    for (flag, bit) in by_firmware {
        control.set(bit, capability.flags.contains(flag));
    }
    control.set(Control::COHERENT, capability.is_coherent());
    control.set(Control::LONG_INTERRUPTS, entries != IrqEntries::Short);
    control.set(Control::X2APIC, entries == IrqEntries::X2apic);
    control
}

impl core::fmt::Debug for AmdVi<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AmdVi").field("facts", &self.facts).finish_non_exhaustive()
    }
}
