//! "PCI/P2PDMA: Clear ACS P2P flags for all devices behind switches" (linux-pci, March 2018): drives behind a switch
//! are to send to each other without a detour, or each is to go to a guest of its own. A kernel that
//! decides when it is built serves one of the two. It was asked for a choice at run time, by the upstream
//! port of the switch, that forms the groups again; and it has to be certain that nobody is hit by it.

mod behind_our_back;
mod half_written;
mod hot_plug;
mod planned;

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    ChangeError, Fate, NewGroup, RegroupError,
    platform::UnitId,
    topology::{AcsBits, Change, Node, Topology},
};
use pviommu_testbed::machine::{Config, ConfigSpace, DeviceConfig, NoAnswer};

use super::kit::{find, functions, machine, stats, topology};
use crate::guest::Vm;

const SWITCH: PciDevice = PciDevice { seg: 0, bus: 1, devfn: 0 };
const PORTS: [PciDevice; 2] =
    [PciDevice { seg: 0, bus: 2, devfn: 0 }, PciDevice { seg: 0, bus: 2, devfn: 1 << 3 }];
const ONE: PciDevice = PciDevice { seg: 0, bus: 3, devfn: 0 };
const SECOND: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 0 };
/// A second function of the second drive, which is not there at the start.
const LATE: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 1 };

const REDIRECTION: AcsBits = AcsBits::REQUEST_REDIRECT.union(AcsBits::COMPLETION_REDIRECT);

/// The machine: two drives behind a switch whose ports redirect everything, and its registers.
struct Drives<'n> {
    space: ConfigSpace,
    topology: Topology<'n>,
    config: Config,
    /// One for each device.
    groups: Vec<NewGroup>,
}

fn drives(room: &mut Vec<Node>) -> Drives<'_> {
    drives_behind(room, Some(UnitId(0)))
}

/// The same with the second drive behind this unit, or none.
fn drives_behind(room: &mut Vec<Node>, unit: Option<UnitId>) -> Drives<'_> {
    let mut functions = functions("switch-acs-both");
    find(&mut functions, "04:00.0").unit = unit;
    let ends = functions.iter_mut().filter(|function| [ONE, SECOND].contains(&function.address));
    ends.for_each(|drive| drive.identity.class = 0x01_0802);
    let space = ConfigSpace::new(&functions);
    let functions = space.read();
    let mut config = machine(&functions, None);
    let (unowned, absent) = (true, true);
    config.devices.push(DeviceConfig {
        function: LATE,
        unowned,
        absent,
        ..DeviceConfig::default()
    });
    let groups = vec![NewGroup::new(None); config.devices.len()];
    Drives { space, topology: topology(&functions, room), config, groups }
}

impl Drives<'_> {
    /// Has requests below the switch go straight, or up to the unit.
    fn send(&mut self, vm: &Vm<'_>, straight: bool) -> Result<(), ChangeError<NoAnswer>> {
        self.change(vm, Change::PeerToPeer { below: SWITCH, allowed: straight })
    }

    fn change(&mut self, vm: &Vm<'_>, change: Change<'_>) -> Result<(), ChangeError<NoAnswer>> {
        let Self { space, topology, groups, .. } = self;
        vm.bed.iommu().change_topology(topology, change, groups, |change| space.write(change))
    }

    /// Somebody has set this access control of `port` without a word; how many devices that concerns.
    fn is_set(&mut self, vm: &Vm<'_>, port: PciDevice, control: AcsBits) -> usize {
        self.space.set_control(port, control);
        let change = Change::Access { function: port, control };
        vm.bed.iommu().topology_changed(&mut self.topology, change, &mut self.groups).unwrap()
    }

    /// What the last change has made of a device.
    fn fate(&self, vm: &Vm<'_>, device: PciDevice) -> Fate {
        let mut devices: Vec<_> = self.config.devices.iter().map(|it| it.function).collect();
        devices.sort_by_key(|function| function.sbdf());
        assert!(vm.bed.iommu().device_stats(device).is_some());
        self.groups[devices.iter().position(|it| *it == device).unwrap()].fate()
    }

    /// True if each drive reaches the other, as the registers are.
    fn reach_each_other(&self) -> bool {
        let ways = [self.space.reaches(ONE, SECOND), self.space.reaches(SECOND, ONE)];
        assert_eq!(ways[0], ways[1]);
        ways[0]
    }

    /// Functions and their access control are known as the registers have them.
    fn is_known_as_it_is(&self) -> bool {
        self.topology.functions().copied().collect::<Vec<_>>() == self.space.read()
    }
}

/// True if both drives are of one group, as the service has it.
fn together(vm: &Vm<'_>) -> bool {
    stats(vm.bed, ONE).group == stats(vm.bed, SECOND).group
}

fn owned(device: PciDevice, domain: DomId) -> Result<(), ChangeError<NoAnswer>> {
    Err(ChangeError::Groups(RegroupError::Owned(device, domain)))
}
