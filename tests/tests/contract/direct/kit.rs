//! Machines with devices whose firmware needs memory of its own.

use pviommu_abi::{Bfn, PciDevice};
use pviommu_hypervisor::{Reserved, ReservedKind, addr::BfnRange, platform::Access};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Config, DeviceConfig, Reach},
};

use crate::{
    kinds,
    kit::{DEVICE, Vm},
};

pub(crate) const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
pub(crate) const THIRD: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };
pub(crate) const DEVICES: [PciDevice; 3] = [DEVICE, SECOND, THIRD];

pub(crate) const READ_ONLY: Access = Access::READ;
pub(crate) const ALL: Access = Access::all();

/// A range of `pages` bus frames that firmware uses.
pub(crate) fn direct(first: u64, pages: u64, access: Access) -> Reserved {
    let range = BfnRange::of_pages(Bfn(first), pages).unwrap();
    Reserved { range, kind: ReservedKind::Direct, access }
}

/// A guest of 64 pages with a device for each list of ranges, and quarantine.
pub(crate) fn machine(devices: &[&[Reserved]]) -> Config {
    let mut config = Config::one_guest(64);
    let of = |(function, reserved): (PciDevice, &&[Reserved])| DeviceConfig {
        function,
        reserved: reserved.to_vec(),
        ..DeviceConfig::default()
    };
    config.devices = DEVICES.into_iter().zip(devices).map(of).collect();
    config.with_quarantine(kinds::background()).with_direct_ranges()
}

/// Checks that `device` finds every page of `range` where it must be, with that access and no more.
pub(crate) fn check(vm: &Vm<'_>, device: PciDevice, range: &Reserved) {
    for bfn in range.range.first().0..=range.range.last().0 {
        for (way, right) in [(Direction::Read, Access::READ), (Direction::Write, Access::WRITE)] {
            let hit = vm.bed.dma_probe(device, bfn << 12, way).ok();
            let expected = range.access.contains(right).then_some((bfn, Reach::Mmio));
            assert_eq!(hit.map(|hit| (hit.frame.0, hit.reach)), expected, "{bfn:#x} {way:?}");
        }
    }
}
