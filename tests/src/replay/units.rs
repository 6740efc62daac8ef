//! The IOMMU units a trace is replayed on.

use clap::ValueEnum;
use pviommu_hypervisor::platform::{UnitFacts, UnitFeatures};
use serde::{Serialize, Serializer};

use crate::machine::UnitKind;

/// The IOMMU units of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum Units {
    /// Intel VT-d, two unlike units: the functions sit behind the one and the other by turns
    #[value(name = "vtd")]
    Mixed,
    /// Intel VT-d: coherent, with snoop control and large leaves
    #[default]
    #[value(name = "vtd-coherent")]
    Coherent,
    /// Intel VT-d: not coherent, caches what is not present, has a write buffer, 4 KiB leaves
    #[value(name = "vtd-plain")]
    Plain,
    /// Intel VT-d whose only tables have 3 levels; not for bus addresses above 39 bits
    #[value(name = "vtd-3level")]
    ThreeLevels,
    /// Intel VT-d whose only tables have 5 levels
    #[value(name = "vtd-5level")]
    FiveLevels,
    /// AMD-Vi: coherent, with large leaves
    #[value(name = "amdvi")]
    AmdVi,
    /// AMD-Vi: not coherent, caches what is not present
    #[value(name = "amdvi-npcache")]
    AmdViNpCache,
}

impl Units {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Mixed,
        Self::Coherent,
        Self::Plain,
        Self::ThreeLevels,
        Self::FiveLevels,
        Self::AmdVi,
        Self::AmdViNpCache,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "vtd",
            Self::Coherent => "vtd-coherent",
            Self::Plain => "vtd-plain",
            Self::ThreeLevels => "vtd-3level",
            Self::FiveLevels => "vtd-5level",
            Self::AmdVi => "amdvi",
            Self::AmdViNpCache => "amdvi-npcache",
        }
    }

    /// Their make.
    #[must_use]
    pub const fn kind(self) -> UnitKind {
        match self {
            Self::AmdVi | Self::AmdViNpCache => UnitKind::AmdVi,
            _ => UnitKind::Vtd,
        }
    }

    /// Bits of the widest bus address that they can be made to accept.
    pub(super) const fn most_bus_bits(self) -> u32 {
        match self {
            Self::ThreeLevels => 39,
            _ => 57,
        }
    }

    /// The units as they usually are.
    pub(super) fn facts(self) -> Vec<UnitFacts> {
        let (usual, poor) = (self.kind().facts(), self.kind().poor_facts());
        let only = |levels, bus_address_bits| {
            let features = (usual.features - UnitFeatures::LEVELS_4) | levels;
            UnitFacts { features, bus_address_bits, ..usual }
        };
        match self {
            Self::Mixed => vec![usual, poor],
            Self::Coherent | Self::AmdVi => vec![usual],
            Self::Plain | Self::AmdViNpCache => vec![poor],
            Self::ThreeLevels => vec![only(UnitFeatures::LEVELS_3, 39)],
            Self::FiveLevels => vec![only(UnitFeatures::LEVELS_5, 57)],
        }
    }
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_command_line() {
        for units in Units::ALL {
            assert_eq!(Units::from_str(units.name(), false), Ok(units));
        }
        assert_eq!(Units::value_variants(), Units::ALL);
    }
}
