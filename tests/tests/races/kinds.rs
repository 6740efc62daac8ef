//! The kind of machine of this execution: chosen by shuttle, so a schedule has it in it.

use std::cell::Cell;

use pviommu_hypervisor::Background;
use pviommu_testbed::machine::{Config, UnitKind};
use shuttle::rand::Rng;

std::thread_local! {
    // Of the test's own thread, on which shuttle runs all of its threads.
    static KIND: Cell<(UnitKind, Background)> = const { Cell::new((UnitKind::Vtd, Background::Scratch)) };
}

/// Chooses it.
pub(crate) fn choose() {
    let mut dice = shuttle::rand::thread_rng();
    let unit = if dice.r#gen() { UnitKind::Vtd } else { UnitKind::AmdVi };
    let background = if dice.r#gen() { Background::Scratch } else { Background::Fault };
    KIND.set((unit, background));
}

pub(crate) fn background() -> Background {
    KIND.get().1
}

pub(crate) fn has_hypertransport() -> bool {
    KIND.get().0 == UnitKind::AmdVi
}

pub(crate) fn of_this_kind(config: &Config) -> Config {
    let (unit, background) = KIND.get();
    config.clone().with_background(background).on(unit)
}
