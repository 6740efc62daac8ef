//! What a driver is told of its unit, and what it is lent.

use core::fmt;

use super::device_table;
use crate::{
    addr::PAGE_SHIFT,
    platform::{Host, RegisterBlock, UnitMemory},
    unit::{
        acpi::{IvInfo, IvhdFlags},
        amdvi::{Capability, Interrupts, IrqEntries, Quirks},
        queue::{self, RingTooSmall},
    },
};

/// What is known of a unit before it is brought up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The segment of the devices behind it.
    pub segment: u16,
    /// CPUs that may ask something of it at the same time: 1 to 127 for each page of the command buffer, and
    /// no more than there are status words.
    pub cpus: usize,
    /// The first word of its capability block, from configuration space: [`Capability::header`].
    pub header: u32,
    /// What firmware says of all units: [`Ivrs::info`](crate::unit::acpi::Ivrs::info).
    pub info: IvInfo,
    /// What firmware says of this one: [`Ivhd::flags`](crate::unit::acpi::Ivhd::flags).
    pub flags: IvhdFlags,
    /// Its extended features, if firmware tells them:
    /// [`Ivhd::extended_features`](crate::unit::acpi::Ivhd::extended_features), the first. Else they are read
    /// of the unit.
    pub extended_features: Option<u64>,
    /// What is not to be believed.
    pub quirks: Quirks,
    /// How wide entries of interrupt tables are.
    pub interrupt_entries: IrqEntries,
    /// What becomes of interrupts of devices of which nothing else was said, I/O APICs and timers among them.
    pub interrupts: Interrupts,
    /// Longest wait for the unit, in microseconds: for one call, whatever it asks for. After that the unit has
    /// failed. Units are usually done in less than 100; Linux waits for 100 000.
    pub timeout_us: u64,
}

/// What a driver works with.
#[derive(Clone, Copy)]
pub struct Resources<'m> {
    /// The registers, 16 KiB at least, from the address that firmware tells.
    pub registers: &'m dyn RegisterBlock,
    /// The rest of the machine.
    pub host: &'m dyn Host,
    /// 1 to 512 pages: 128 entries each, from id 0 on. The largest bus behind the unit decides; ids beyond
    /// it are refused, by the unit and by the driver.
    pub device_table: UnitMemory<'m>,
    /// 1, 2, 4 ... or 128 pages: 256 commands each.
    pub commands: UnitMemory<'m>,
    /// 1, 2, 4 ... or 128 pages: 256 events each.
    pub events: UnitMemory<'m>,
    /// A word for each CPU.
    pub status: UnitMemory<'m>,
}

/// Why a unit was not brought up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BringUpError {
    /// There are no registers: they read as all ones.
    Absent,
    /// The unit does not walk tables of this format, or has no interrupt tables as they are wanted.
    Unsupported,
    /// Some memory is more or less than it may be.
    Memory,
    /// The command buffer is too small for so many CPUs: it needs so many entries.
    Ring(usize),
    /// Some memory is beyond the addresses that the unit puts out.
    OutOfReach,
    /// The unit did not answer in time. It may be on, and refuses all requests then; or off.
    NoAnswer,
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there are no registers"),
            Self::Unsupported => f.write_str("the unit has no tables as they are wanted"),
            Self::Memory => f.write_str("the unit was lent memory of a size that it may not have"),
            Self::OutOfReach => f.write_str("the unit was lent memory that it cannot reach"),
            Self::Ring(needed) => write!(f, "the command buffer needs {needed} entries"),
            Self::NoAnswer => f.write_str("the unit does not answer"),
        }
    }
}

impl core::error::Error for BringUpError {}

impl From<RingTooSmall> for BringUpError {
    fn from(RingTooSmall { needed }: RingTooSmall) -> Self {
        Self::Ring(needed)
    }
}

/// Most pages of a ring: 2^15 entries.
const MAX_RING: usize = 128;

impl Settings {
    pub(super) fn capability(&self, extended_features: impl FnOnce() -> u64) -> Capability {
        let read = || {
            let there = Capability::has_extended_features(self.header);
            if there { extended_features() } else { 0 }
        };
        let Self { header, info, flags, quirks, .. } = *self;
        let extended_features = self.extended_features.unwrap_or_else(read);
        Capability { header, extended_features, info, flags, quirks }
    }
}

impl Resources<'_> {
    pub(super) fn check(&self, settings: &Settings) -> Result<(), BringUpError> {
        let is_ring = |pages: usize| pages.is_power_of_two() && pages <= MAX_RING;
        let fit = is_ring(self.commands.pages())
            && is_ring(self.events.pages())
            && self.device_table.pages() <= device_table::MAX_PAGES
            && settings.cpus <= self.status.words().len();
        let entries = self.commands.words().len() / 2;
        let needed = queue::entries_for(settings.cpus.max(1));
        match (fit, entries < needed) {
            (false, _) => Err(BringUpError::Memory),
            (true, true) => Err(BringUpError::Ring(needed)),
            (true, false) => Ok(()),
        }
    }

    /// Fails if the unit puts out no addresses of so many bits.
    pub(super) fn check_reach(&self, host_address_bits: u8) -> Result<(), BringUpError> {
        let all = [self.device_table, self.commands, self.events, self.status];
        let beyond = all.iter().any(|memory| {
            let pages = memory.pages() as u64;
            let last = memory.frame().0.saturating_add(pages.saturating_sub(1));
            let bits = u32::from(host_address_bits).saturating_sub(PAGE_SHIFT);
            last.checked_shr(bits).unwrap_or(0) != 0
        });
        if beyond { Err(BringUpError::OutOfReach) } else { Ok(()) }
    }
}

impl fmt::Debug for Resources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources")
            .field("device_table", &self.device_table)
            .finish_non_exhaustive()
    }
}
