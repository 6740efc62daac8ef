//! The units a machine can have, by their make.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use pviommu_hypervisor::{
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
};

/// Whose units a machine has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, ValueEnum)]
pub enum UnitKind {
    /// Intel's.
    #[default]
    #[value(name = "vtd")]
    Vtd,
    /// AMD's.
    #[value(name = "amdvi")]
    AmdVi,
}

impl UnitKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Vtd, Self::AmdVi];

    /// Its name, which [`from_str`](FromStr::from_str) takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vtd => "vtd",
            Self::AmdVi => "amdvi",
        }
    }

    /// True if the service is built with the tables it walks.
    #[must_use]
    pub const fn is_built(self) -> bool {
        self.format().is_built()
    }

    /// The tables it walks.
    #[must_use]
    pub const fn format(self) -> FormatKind {
        match self {
            Self::Vtd => FormatKind::VtdSecondStage,
            Self::AmdVi => FormatKind::AmdV1,
        }
    }

    /// A usual unit.
    #[must_use]
    pub const fn facts(self) -> UnitFacts {
        match self {
            Self::Vtd => vtd_facts(),
            Self::AmdVi => amd_facts(),
        }
    }

    /// A unit as poor as they come.
    #[must_use]
    pub const fn poor_facts(self) -> UnitFacts {
        match self {
            Self::Vtd => poor_facts(),
            Self::AmdVi => poor_amd_facts(),
        }
    }

    /// A unit of this make as `other` is: the usual one for the usual one, the poor one for the poor
    /// one, and else one that differs in no more than it must.
    #[must_use]
    pub fn like(self, other: &UnitFacts) -> UnitFacts {
        let usual = Self::ALL.iter().any(|kind| kind.facts() == *other);
        let poor = Self::ALL.iter().any(|kind| kind.poor_facts() == *other);
        match (usual, poor) {
            (true, _) => self.facts(),
            (_, true) => self.poor_facts(),
            _ => {
                let mut facts = UnitFacts { format: self.format(), ..*other };
                if self == Self::AmdVi {
                    facts.features -= UnitFeatures::WRITE_BUFFER;
                }
                facts
            }
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for UnitKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("found units \"{name}\", expected \"vtd\" or \"amdvi\""))
    }
}

/// A usual VT-d unit: 4 levels of 48 bits, 46 bits of host addresses, leaves of 2 MiB and 1 GiB,
/// snoop control, coherent walks, 256 tags.
#[must_use]
pub const fn vtd_facts() -> UnitFacts {
    UnitFacts {
        format: FormatKind::VtdSecondStage,
        features: UnitFeatures::COHERENT
            .union(UnitFeatures::SNOOP_CONTROL)
            .union(UnitFeatures::LEAF_2M)
            .union(UnitFeatures::LEAF_1G)
            .union(UnitFeatures::LEVELS_4),
        bus_address_bits: 48,
        host_address_bits: 46,
        tags: 256,
    }
}

/// A unit as poor as they come: walks do not snoop, stores wait in a buffer, what is not present
/// is cached, no snoop control, leaves of 4 KiB only, 39 bits of bus and 42 of host addresses, 16
/// tags. It walks tables of 4 levels, as a unit of [`vtd_facts`] does.
#[must_use]
pub const fn poor_facts() -> UnitFacts {
    UnitFacts {
        format: FormatKind::VtdSecondStage,
        features: UnitFeatures::CACHES_NOT_PRESENT
            .union(UnitFeatures::WRITE_BUFFER)
            .union(UnitFeatures::LEVELS_3)
            .union(UnitFeatures::LEVELS_4),
        bus_address_bits: 39,
        host_address_bits: 42,
        tags: 16,
    }
}

/// What every AMD-Vi unit has.
const EVERY_AMD: UnitFeatures = UnitFeatures::SNOOP_CONTROL
    .union(UnitFeatures::LEAF_2M)
    .union(UnitFeatures::LEAF_1G)
    .union(UnitFeatures::LEVELS_3)
    .union(UnitFeatures::LEVELS_4);

/// A usual AMD-Vi unit: up to 5 levels, 48 bits of bus and of host addresses, coherent walks, 256 tags.
#[must_use]
pub const fn amd_facts() -> UnitFacts {
    UnitFacts {
        format: FormatKind::AmdV1,
        features: EVERY_AMD.union(UnitFeatures::COHERENT).union(UnitFeatures::LEVELS_5),
        bus_address_bits: 48,
        host_address_bits: 48,
        tags: 256,
    }
}

/// A poor AMD-Vi unit: walks do not snoop, what is not present is cached (NpCache), up to 4 levels, 40 bits
/// of bus and 42 of host addresses, 16 tags.
#[must_use]
pub const fn poor_amd_facts() -> UnitFacts {
    UnitFacts {
        format: FormatKind::AmdV1,
        features: EVERY_AMD.union(UnitFeatures::CACHES_NOT_PRESENT),
        bus_address_bits: 40,
        host_address_bits: 42,
        tags: 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_its_name() {
        for kind in UnitKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let by_clap = <UnitKind as ValueEnum>::from_str(kind.name(), false);
            assert_eq!(by_clap, Ok(kind));
            assert_eq!(
                (kind.facts().format, kind.poor_facts().format),
                (kind.format(), kind.format())
            );
        }
        assert!("smmu".parse::<UnitKind>().unwrap_err().contains("\"smmu\""));
    }

    #[test]
    fn a_unit_of_the_other_make_is_as_like_as_can_be() {
        for (from, to) in [(UnitKind::Vtd, UnitKind::AmdVi), (UnitKind::AmdVi, UnitKind::Vtd)] {
            assert_eq!(to.like(&from.facts()), to.facts());
            assert_eq!(to.like(&from.poor_facts()), to.poor_facts());
            assert_eq!(to.like(&to.facts()), to.facts());
        }
        let odd = UnitFacts { tags: 4, ..poor_facts() };
        let like = UnitKind::AmdVi.like(&odd);
        assert_eq!((like.format, like.tags, like.bus_address_bits), (FormatKind::AmdV1, 4, 39));
        assert_eq!(like.features, odd.features - UnitFeatures::WRITE_BUFFER);
    }
}
