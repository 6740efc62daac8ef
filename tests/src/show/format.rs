//! What the makers of units call the parts of their tables.

use pviommu_hypervisor::format::FormatKind;
use serde::Serialize;

/// The format of a table, for people.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub enum Format {
    /// VT-d second stage.
    #[default]
    #[serde(rename = "vtd-second-stage")]
    Vtd,
    /// AMD v1.
    #[serde(rename = "amd-v1")]
    Amd,
}

impl From<FormatKind> for Format {
    fn from(kind: FormatKind) -> Self {
        match kind {
            FormatKind::AmdV1 => Self::Amd,
            FormatKind::VtdSecondStage => Self::Vtd,
        }
    }
}

impl Format {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vtd => "VT-d second stage",
            Self::Amd => "AMD v1",
        }
    }

    /// The bits that permit reads and writes.
    #[must_use]
    pub const fn rights(self) -> &'static str {
        match self {
            Self::Vtd => "R/W",
            Self::Amd => "IR/IW",
        }
    }

    /// The bit of a leaf that forces snooping.
    #[must_use]
    pub const fn snoop(self) -> &'static str {
        match self {
            Self::Vtd => "SNP",
            Self::Amd => "FC",
        }
    }

    /// A table of `level`, as whatever leads there says it: a device entry to the `root`, an entry to
    /// others.
    #[must_use]
    pub fn table(self, level: u8, root: bool) -> String {
        let name = match (self, root) {
            (Self::Vtd, true) => "root, level",
            (Self::Vtd, false) => "level",
            (Self::Amd, true) => "root, mode",
            (Self::Amd, false) => "next level",
        };
        format!("{name} {level}")
    }

    /// All levels of a table, from the root down.
    #[must_use]
    pub fn levels(self, levels: usize) -> String {
        let below: Vec<String> = (1..levels).rev().map(|level| level.to_string()).collect();
        let below = below.join(", ");
        match self {
            Self::Vtd => format!("level {levels} down to 1"),
            Self::Amd => format!("mode {levels}, next level {below}, and 0 in leaves"),
        }
    }
}
