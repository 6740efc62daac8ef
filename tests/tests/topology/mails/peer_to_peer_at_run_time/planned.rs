//! Joined and parted again when somebody asks for it, and only if nobody's group changes.

use pviommu_abi::{DeviceFlags, Errno};
use pviommu_hypervisor::{
    ChangeError,
    topology::{AcsBits, Change, Contradiction, RegisterChange, RegisterSpace},
};

use super::{
    super::kit::{at, drive, end, functions, other, owner, told, topology, works},
    Drives, ONE, PORTS, REDIRECTION, SECOND, SWITCH, drives, drives_behind, owned, together,
};
use crate::guest::{GUEST, OTHER, Vm, with};

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
        // Neither the groups before nor those after hold in between.
        let control = AcsBits::ISOLATION - REDIRECTION;
        assert_eq!(drives.change(vm, Change::Access { function: PORTS[0], control }), Ok(()));
        drives.space.take_written();
        let control = AcsBits::REQUEST_REDIRECT;
        let refused = drives.change(vm, Change::Access { function: PORTS[0], control });
        assert_eq!(refused, Err(ChangeError::Impossible(Contradiction::Mixed(PORTS[0]))));
        assert!(drives.space.take_written().is_empty() && drives.is_known_as_it_is());
        end(vm);
    });
}

/// It is not known where the registers are: then it is not known either how to switch anything.
#[test]
fn ports_whose_registers_are_not_found_are_not_switched() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    let mut without_place = Vec::new();
    drives.topology = topology(&functions("switch-acs-both"), &mut without_place);
    with(&drives.config.clone(), |vm| {
        let refused = drives.send(vm, true);
        assert_eq!(refused, Err(ChangeError::Impossible(Contradiction::NoControl(PORTS[0]))));
        assert!(drives.space.take_written().is_empty() && !together(vm));
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

/// What is behind no unit is nobody's device, and can still be reached, or send.
#[test]
fn a_neighbour_behind_no_unit_counts_when_drives_are_joined() {
    let mut room = Vec::new();
    let mut drives = drives_behind(&mut room, None);
    with(&drives.config.clone(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(drives.send(vm, true), owned(ONE, GUEST));
        assert_eq!(vm.bed.unassign(GUEST, 0, ONE), Ok(()));
        let Drives { space, topology, groups, .. } = &mut drives;
        let write = |register: RegisterChange| {
            assert_eq!(vm.bed.assign(GUEST, ONE), Err(Errno::EAGAIN));
            space.write(register)
        };
        let change = Change::PeerToPeer { below: SWITCH, allowed: true };
        assert_eq!(vm.bed.iommu().change_topology(topology, change, groups, write), Ok(()));
        assert_eq!(
            vm.bed.assign(GUEST, ONE),
            Err(Errno::EPERM),
            "the neighbour does DMA everywhere"
        );
        end(vm);
    });
}
