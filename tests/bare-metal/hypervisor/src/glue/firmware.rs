//! What firmware says of the units, whichever make they are.

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::{Access, SourceId, UnitId},
    topology::{DirectRange, Function, IdAlias, Window},
    unit::acpi::{Dmar, Facts, Ivrs},
};

use crate::machine::{acpi, frames::FREE};

/// Room for entries of lists.
const ENTRIES: usize = 64;

/// The table of units.
#[derive(Clone, Copy)]
pub enum Firmware {
    /// Of VT-d.
    Dmar(Dmar<'static>),
    /// Of AMD-Vi.
    Ivrs(Ivrs<'static>),
}

impl Firmware {
    /// Reads the table that there is.
    ///
    /// # Panics
    /// If there is none, or it is wrong: without it no device can be given away.
    #[must_use]
    pub fn read(rsdp: u64) -> Self {
        let ivrs = || Ivrs::parse(acpi::table(rsdp, b"IVRS").expect("there is a table of units"));
        match acpi::table(rsdp, b"DMAR") {
            Some(table) => Self::Dmar(Dmar::parse(table).expect("DMAR is in order")),
            None => Self::Ivrs(ivrs().expect("IVRS is in order")),
        }
    }

    /// The unit that a function is behind.
    #[must_use]
    pub fn unit_of(&self, function: PciDevice, facts: &Facts<'_>) -> Option<UnitId> {
        match self {
            Self::Dmar(dmar) => {
                dmar.unit_of(function, facts).expect("no two units have one function")
            }
            Self::Ivrs(ivrs) => ivrs.unit_of(function, facts),
        }
    }

    /// The memory that firmware uses for devices.
    #[must_use]
    pub fn direct(&self, functions: &[Function], facts: &Facts<'_>) -> &'static [DirectRange] {
        let (function, access) = (PciDevice::new(0, 0, 0, 0), Access::empty());
        let bytes = Window { first: 0, last: 0 };
        let vacant = DirectRange { function, bytes, relaxable: false, access };
        let room = FREE.place(ENTRIES, |_| vacant);
        // USB and graphics need theirs until their driver runs.
        let relaxable = |it: &Function| matches!(it.identity.class >> 8, 0x0c03 | 0x0300);
        let list = match self {
            Self::Dmar(dmar) => dmar.direct_ranges(functions.iter(), facts, relaxable, room),
            Self::Ivrs(ivrs) => ivrs.direct_ranges(functions.iter(), room),
        };
        list.expect("there is room for firmware's ranges")
    }

    /// The ids that requests carry by firmware's word.
    #[must_use]
    pub fn aliases(&self, functions: &[Function]) -> &'static [IdAlias] {
        let Self::Ivrs(ivrs) = self else { return &[] };
        let function = PciDevice::new(0, 0, 0, 0);
        let room = FREE.place(ENTRIES, |_| IdAlias { function, id: SourceId(function) });
        ivrs.aliases(functions.iter(), room).expect("there is room for firmware's aliases")
    }
}
