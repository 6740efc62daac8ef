//! "PCI/P2PDMA: Clear ACS P2P flags for all devices behind switches" (linux-pci, March 2018): drives behind a switch
//! are to send to each other without a detour, or each is to go to a guest of its own. A kernel that
//! decides when it is built serves one of the two. It was asked for a choice at run time, by the upstream
//! port of the switch, that forms the groups again; and it has to be certain that nobody is hit by it.

use pviommu_abi::{DeviceFlags, DomId, Errno, PciDevice};
use pviommu_hypervisor::{
    ChangeError, Fate, NewGroup, RegroupError,
    topology::{
        AcsBits, Change, Contradiction, Function, Node, RegisterChange, RegisterSpace, Topology,
    },
};
use pviommu_testbed::machine::{Config, ConfigSpace, DeviceConfig, NoAnswer};

use super::kit::{at, drive, end, functions, machine, other, owner, stats, told, topology, works};
use crate::guest::{GUEST, OTHER, Vm, with};

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
    let mut functions = functions("switch-acs-both");
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

/// Straight for one guest that has both, and then apart for two: one machine serves either, in turn.
#[test]
fn drives_are_joined_for_peer_to_peer_and_parted_again_while_the_machine_runs() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        assert!(!together(vm) && !drives.reach_each_other());
        assert_eq!(drives.send(vm, true), Ok(()));
        let written = drives.space.take_written();
        let expected = PORTS.map(RegisterSpace::Config);
        assert_eq!(written.iter().map(|register| register.space).collect::<Vec<_>>(), expected);
        let says = |on: AcsBits, off: AcsBits| {
            let (on, off) = (u32::from(on.bits()), u32::from(off.bits()));
            let all = |it: &RegisterChange| it.set & on == on && it.clear & off == off;
            written.iter().all(|it| all(it) && it.set & it.clear == 0)
        };
        assert!(says(AcsBits::SOURCE_VALIDATION | AcsBits::UPSTREAM_FORWARDING, REDIRECTION));
        assert!(drives.reach_each_other() && together(vm) && drives.is_known_as_it_is());

        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(owner(vm.bed, ONE), Some(GUEST));
        assert_eq!(vm.bed.assign(OTHER, ONE), Err(Errno::EBUSY));
        drive(vm, ONE);
        drive(vm, SECOND);
        assert!(told(vm, ONE).contains(DeviceFlags::SHARING_RISK));
        assert_eq!(drives.send(vm, false), owned(ONE, GUEST), "it has both");
        assert!(drives.reach_each_other() && drives.space.take_written().is_empty());
        assert!(works(vm, ONE) && works(vm, SECOND));
        assert_eq!(vm.bed.unassign(GUEST, 0, ONE), Ok(()));

        assert_eq!(drives.send(vm, false), Ok(()));
        assert_eq!(drives.space.take_written().len(), 2);
        assert!(!drives.reach_each_other() && !together(vm) && drives.is_known_as_it_is());
        let second = other(vm);
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Ok(()));
        drive(vm, ONE);
        drive(&second, SECOND);
        assert!(works(vm, ONE));
        assert_eq!(told(vm, ONE), DeviceFlags::INTERRUPTS_ISOLATED);
        end(vm);
    });
}

/// INV-46: the owner is named, and neither a group nor a register is another than before.
#[test]
fn while_a_guest_has_one_of_the_drives_nothing_is_written() {
    for (domain, device) in [(GUEST, ONE), (OTHER, SECOND)] {
        let mut room = Vec::new();
        let mut drives = drives(&mut room);
        with(&drives.config.clone(), |vm| {
            let guest = Vm::new(vm.bed, domain, 0);
            assert_eq!(vm.bed.assign(domain, device), Ok(()));
            drive(&guest, device);
            assert_eq!(drives.send(vm, true), owned(device, domain));
            assert!(drives.space.take_written().is_empty() && !drives.reach_each_other());
            assert!(!together(vm) && drives.is_known_as_it_is());
            assert!(works(&guest, device));
            // The other drive goes to whoever asks, as if nothing had been.
            let neighbour = if device == ONE { SECOND } else { ONE };
            let next = if domain == GUEST { OTHER } else { GUEST };
            assert_eq!(vm.bed.assign(next, neighbour), Ok(()));
            end(vm);
        });
    }
}

/// Two guests, and the answer names one of them; a port is no place to ask at that leads to nothing.
#[test]
fn what_cannot_be_switched_is_refused_for_another_reason() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        for below in [ONE, at("09:00.0")] {
            let change = Change::PeerToPeer { below, allowed: true };
            let refused = drives.change(vm, change);
            let expected = if below == ONE {
                Contradiction::NoControl(below)
            } else {
                Contradiction::Unknown(below)
            };
            assert_eq!(refused, Err(ChangeError::Impossible(expected)));
        }
        assert!(drives.space.take_written().is_empty() && drives.is_known_as_it_is());
        end(vm);
    });
}

/// A port that does not answer, on the way there or back: what may be joined counts as joined.
#[test]
fn a_register_that_cannot_be_written_leaves_the_larger_groups() {
    for silent in PORTS {
        let mut room = Vec::new();
        let mut drives = drives(&mut room);
        with(&drives.config.clone(), |vm| {
            let fails = |end: Result<(), ChangeError<NoAnswer>>| {
                let Err(ChangeError::NotWritten(register, NoAnswer)) = end else {
                    panic!("{end:?}")
                };
                assert_eq!(register.space, RegisterSpace::Config(silent));
            };
            let one_guest_gets_both = || {
                assert!(together(vm));
                assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
                assert_eq!(vm.bed.assign(OTHER, SECOND), Err(Errno::EBUSY));
                assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));
            };
            drives.space.set_answers(silent, false);
            fails(drives.send(vm, true));
            one_guest_gets_both();
            let of = |port| drives.space.control(port).unwrap().contains(REDIRECTION);
            assert_eq!(PORTS.map(of), [silent == PORTS[0], true], "as far as it came");
            drives.space.set_answers(silent, true);
            assert_eq!(drives.send(vm, true), Ok(()));

            drives.space.set_answers(silent, false);
            fails(drives.send(vm, false));
            one_guest_gets_both();
            drives.space.set_answers(silent, true);
            assert_eq!(drives.send(vm, false), Ok(()));
            assert!(!together(vm) && !drives.reach_each_other() && drives.is_known_as_it_is());
            end(vm);
        });
    }
}

/// Half of it is done, and the groups are those of all of it: asked again, the other half is done, too.
#[test]
fn what_was_written_in_part_is_written_when_it_is_asked_for_again() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        drives.space.set_answers(PORTS[1], false);
        assert!(drives.send(vm, true).is_err() && !drives.space.reaches(SECOND, ONE));
        drives.space.set_answers(PORTS[1], true);
        assert_eq!(drives.send(vm, true), Ok(()));
        assert!(drives.reach_each_other() && drives.is_known_as_it_is());
        end(vm);
    });
}

/// While registers are being written, neither grouping is given away.
#[test]
fn nobody_is_given_a_drive_between_two_registers() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let Drives { space, topology, groups, .. } = &mut drives;
        let mut asked = 0;
        let write = |register: RegisterChange| {
            for device in [ONE, SECOND] {
                assert_eq!(vm.bed.assign(GUEST, device), Err(Errno::EAGAIN));
                asked += 1;
            }
            space.write(register)
        };
        let change = Change::PeerToPeer { below: SWITCH, allowed: true };
        assert_eq!(vm.bed.iommu().change_topology(topology, change, groups, write), Ok(()));
        assert_eq!(asked, 4);
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        end(vm);
    });
}

/// One guest has a drive and nobody the other: that one is stopped, the guest goes on, and nobody gets either
/// until somebody has looked at it.
#[test]
fn access_control_that_is_cleared_behind_our_back_stops_the_neighbour_and_not_the_owner() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let iommu = vm.bed.iommu();
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        drive(vm, ONE);
        let cleared = drives.space.control(PORTS[1]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[1], cleared), 2);
        assert_eq!([ONE, SECOND].map(|it| drives.fate(vm, it)), [Fate::Tainted, Fate::Stopped]);
        assert!(drives.space.reaches(SECOND, ONE), "which is why");
        assert!(drives.is_known_as_it_is() && together(vm));
        assert!(vm.bed.board().is_stopped(SECOND) && !vm.bed.board().is_stopped(ONE));
        assert!(works(vm, ONE));
        let expected = DeviceFlags::SHARING_RISK
            | DeviceFlags::HIDDEN_MEMBERS
            | DeviceFlags::INTERRUPTS_ISOLATED;
        assert_eq!(told(vm, ONE), expected);
        for domain in [GUEST, OTHER] {
            assert_eq!(vm.bed.assign(domain, SECOND), Err(Errno::EBADF));
        }
        assert_eq!(iommu.approve(SECOND), Err(Errno::EBUSY), "while somebody has of it");
        assert_eq!(iommu.restart(SECOND), Err(Errno::EBADF));

        assert_eq!(vm.bed.unassign(GUEST, 0, ONE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, ONE), Err(Errno::EBADF));
        assert_eq!(iommu.approve(ONE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, ONE), Err(Errno::EBADF), "its neighbour is stopped still");
        assert_eq!(iommu.restart(SECOND), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, ONE), Ok(()));
        assert_eq!(owner(vm.bed, SECOND), Some(OTHER));
        let second = other(vm);
        drive(&second, ONE);
        drive(&second, SECOND);
        end(vm);
    });
}

/// Each of two guests has one: neither is worth more than the other.
#[test]
fn drives_of_two_guests_that_reach_each_other_all_of_a_sudden_are_both_stopped() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let second = other(vm);
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Ok(()));
        drive(vm, ONE);
        drive(&second, SECOND);
        let cleared = drives.space.control(PORTS[0]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[0], cleared), 2);
        assert_eq!([ONE, SECOND].map(|it| drives.fate(vm, it)), [Fate::Stopped; 2]);
        assert!(!works(vm, ONE) && !works(&second, SECOND));
        assert!(told(vm, ONE).contains(DeviceFlags::STOPPED));
        // Set again, it is as it was, but for somebody's word.
        let on = cleared | REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[0], on), 2);
        assert!(!together(vm) && !works(vm, ONE));
        for (domain, device) in [(GUEST, ONE), (OTHER, SECOND)] {
            assert_eq!(vm.bed.unassign(domain, 0, device), Ok(()));
            assert_eq!(vm.bed.iommu().approve(device), Ok(()));
            assert_eq!(vm.bed.iommu().restart(device), Ok(()));
            assert_eq!(vm.bed.assign(domain, device), Ok(()));
        }
        end(vm);
    });
}

/// Nobody has any: the groups are what they are now, and nothing is to be done.
#[test]
fn access_control_of_what_nobody_has_only_makes_other_groups() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let cleared = drives.space.control(PORTS[0]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[0], cleared), 0);
        assert_eq!(drives.fate(vm, ONE), Fate::Changed);
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(owner(vm.bed, ONE), Some(GUEST));
        end(vm);
    });
}

/// A function that comes joins a group, or one that goes leaves it: not while somebody has that group.
#[test]
fn a_function_is_hot_added_and_removed_only_where_nobody_has_the_group() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let iommu = vm.bed.iommu();
        let second = drives.topology.function(SECOND).copied().unwrap();
        let late = Function { address: LATE, ..second };
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(drives.change(vm, Change::Add(&[late])), owned(SECOND, GUEST));
        assert!(drives.topology.function(LATE).is_none());
        assert_eq!(vm.bed.assign(OTHER, LATE), Err(Errno::ENODEV));
        assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));

        // Whoever has the other drive has nothing to do with it.
        assert_eq!(vm.bed.assign(OTHER, ONE), Ok(()));
        assert_eq!(drives.change(vm, Change::Add(&[late])), Ok(()));
        assert_eq!(iommu.plug(LATE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(owner(vm.bed, LATE), Some(GUEST));
        assert_eq!(vm.bed.assign(OTHER, LATE), Err(Errno::EBUSY));
        drive(vm, LATE);

        assert_eq!(drives.change(vm, Change::Remove(&[LATE])), owned(SECOND, GUEST));
        assert_eq!(iommu.unplug(LATE), Err(Errno::EBUSY));
        assert!(drives.topology.function(LATE).is_some() && works(vm, LATE));
        assert_eq!(vm.bed.unassign(GUEST, 0, LATE), Ok(()));
        assert_eq!(iommu.unplug(LATE), Ok(()));
        assert_eq!(drives.change(vm, Change::Remove(&[LATE])), Ok(()));
        assert!(drives.is_known_as_it_is());
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(told(vm, SECOND), DeviceFlags::INTERRUPTS_ISOLATED);
        assert_eq!(vm.bed.assign(GUEST, LATE), Err(Errno::ENODEV));
        end(vm);
    });
}
