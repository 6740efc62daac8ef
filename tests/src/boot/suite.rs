//! What can be booted: suites of checks, and on which units.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// The unit that QEMU emulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Intel's, by intel-iommu
    Vtd,
    /// AMD's, by amd-iommu
    #[value(name = "amdvi")]
    AmdVi,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Vtd, Self::AmdVi];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vtd => "vtd",
            Self::AmdVi => "amdvi",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Checks that run in one boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suite {
    /// Its name, which the image is told.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// Why it cannot be run with QEMU's AMD-Vi; `None` if it is.
    pub not_on_amdvi: Option<&'static str>,
    /// How many CPUs the machine has. With one, time is counted in instructions and runs are alike; with
    /// several it is the clock's.
    pub cpus: u8,
    /// The unit remaps interrupts.
    pub remaps_interrupts: bool,
}

impl Suite {
    const fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, not_on_amdvi: None, cpus: 1, remaps_interrupts: false }
    }

    /// Why it is left out on `unit`, if it is.
    #[must_use]
    pub fn left_out(&self, unit: Unit) -> Option<&'static str> {
        self.not_on_amdvi.filter(|_| unit == Unit::AmdVi)
    }
}

/// All suites, in the order in which they run.
pub const SUITES: &[Suite] = &[
    Suite::new(
        "translation",
        "what a guest maps is what its devices reach, and a missing flush is seen",
    ),
    Suite::new("scratch", "a million bus frames that nobody mapped harm nobody"),
    Suite::new("revocation", "what was unmapped is out of reach of a copy that was begun before"),
    Suite::new("ownership", "a guest takes over its default context while a device works"),
    Suite::new("reattach", "devices move between contexts, into quarantine and out of it"),
    Suite::new("bridge", "devices behind a conventional bridge are one device"),
    Suite::new("bring-up", "a unit that firmware left on, that slept, or whose hypervisor crashed"),
    Suite {
        remaps_interrupts: true,
        ..Suite::new("interrupts", "interrupts of devices go through the unit, too")
    },
    Suite { cpus: 2, ..Suite::new("glue", "what the hypervisor around the service promises it") },
    Suite {
        remaps_interrupts: true,
        ..Suite::new("guest-edu", "a guest has a device copy between its buffers")
    },
    Suite::new("guest-disk", "a guest uses a disk by nothing but bus frames"),
    Suite::new("guest-escape", "guests that are killed while a device works"),
    Suite::new("guest-hostile", "a guest that makes every call wrong"),
    Suite { cpus: 2, ..Suite::new("guest-smp", "two CPUs edit one context, then share a space") },
];

/// The suite of this name.
#[must_use]
pub fn suite(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}
