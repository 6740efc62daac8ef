//! A port that does not answer when its register is to be written.

use pviommu_abi::Errno;
use pviommu_hypervisor::{ChangeError, topology::RegisterSpace};
use pviommu_testbed::machine::NoAnswer;

use super::{super::kit::end, ONE, PORTS, REDIRECTION, SECOND, drives, together};
use crate::guest::{GUEST, OTHER, with};

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
