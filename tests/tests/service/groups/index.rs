//! The list of ids by which devices are found has to be that of the devices.

use std::sync::atomic::AtomicU64;

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    Cpu, Device, FaultRule, Iommu, Machine, SetupError, SourceEntry, Unit,
    platform::{SourceId, UnitId},
};
use pviommu_testbed::machine::{Board, Platform};

use super::kit::config;
use crate::kinds;

/// What is said of these devices, found by the ids of those.
fn refusal(devices: &[Device<'_>], indexed: &[Device<'_>]) -> Option<SetupError> {
    let config = kinds::of_this_kind(&config());
    let board = Board::new(&config);
    let tags: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let units = [Unit::new(config.units[0], &tags)];
    let mut room = [SourceEntry::default(); 8];
    let sources = Machine::index_sources(indexed, &mut room).unwrap();
    let cpus = [Cpu::new()];
    let machine = Machine {
        units: &units,
        tables: None,
        devices,
        sources,
        quarantine: None,
        cpus: &cpus,
        reserved: &[],
        unreachable: &[],
        faults: FaultRule::default(),
    };
    Iommu::new(Platform::new(&board, &[]), machine).err()
}

#[test]
fn a_machine_with_the_ids_of_other_devices_is_refused() {
    let device = |id| Device::new(PciDevice::from_sbdf(id), UnitId(0), &[]);
    let (two, alias) = ([PciDevice::from_sbdf(2)], [SourceId(PciDevice::from_sbdf(2))]);
    let right = || [device(1).with_functions(&two), device(3)];
    assert_eq!(refusal(&right(), &right()), None);
    let wrong = Some(SetupError::SourcesNotIndexed);
    assert_eq!(refusal(&right(), &[device(1), device(3)]), wrong, "one is missing");
    assert_eq!(refusal(&[device(1), device(3)], &right()), wrong, "one too many");
    assert_eq!(refusal(&right(), &[device(1).with_functions(&two), device(4)]), wrong);
    assert_eq!(refusal(&right(), &[device(1), device(3).with_functions(&two)]), wrong);
    let aliased = || [device(1).with_aliases(&alias), device(3)];
    assert_eq!(refusal(&aliased(), &aliased()), None);
    assert_eq!(refusal(&right(), &aliased()), wrong, "a function and no alias");
    assert_eq!(refusal(&aliased(), &right()), wrong, "an alias and no function");
}

#[test]
fn a_machine_with_a_device_behind_a_unit_that_is_not_listed_is_refused() {
    let function = PciDevice::from_sbdf(3);
    for unit in [UnitId(1), UnitId(u16::MAX)] {
        let listed = || Device::new(PciDevice::from_sbdf(1), UnitId(0), &[]);
        let devices = || [listed(), Device::new(function, unit, &[])];
        let wrong = Some(SetupError::UnknownUnit(function, unit));
        assert_eq!(refusal(&devices(), &devices()), wrong);
    }
}
