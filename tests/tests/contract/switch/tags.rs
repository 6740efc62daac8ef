//! INV-10: the new map has a tag of its own, beside that of the old one.

use pviommu_abi::{ContextId, Errno, OwnershipMode, PciDevice};
use pviommu_hypervisor::{Background, DefaultMap, platform::Tag};
use pviommu_testbed::machine::{Config, try_run};

use super::kit::take;
use crate::{
    direct::kit::{SECOND, THIRD},
    kit::{DEVICE, GUEST, RW, Vm, err, with},
};

fn tag(vm: &Vm<'_>, device: PciDevice) -> Option<Tag> {
    vm.bed.board().device_entries(device)[0].table().map(|(_, tag)| tag)
}

/// Three devices behind a unit with so many tags; tag 0 is none.
fn config(tags: u32) -> Config {
    let mut config = Config::one_guest(64).with_default_map(DefaultMap::Guest);
    for function in [SECOND, THIRD] {
        let device = pviommu_testbed::machine::DeviceConfig {
            function,
            ..pviommu_testbed::machine::DeviceConfig::default()
        };
        config.devices.push(device);
    }
    config.units[0].tags = tags + 1;
    config
}

#[test]
fn every_switch_takes_a_fresh_tag_and_gives_the_old_one_back() {
    with(&config(3), |vm| {
        // More often than there are tags.
        for _ in 0..6 {
            let old = tag(vm, DEVICE).unwrap();
            assert!(vm.lands_in(DEVICE, 5, 5), "and is cached under the old tag");
            assert_eq!(take(vm, OwnershipMode::CLEAR), 0);
            let new = tag(vm, DEVICE).unwrap();
            assert_ne!(old, new);
            assert_eq!(tag(vm, SECOND), Some(new), "one a unit");
            assert!(vm.hits_background(DEVICE, 5));
            assert_eq!(vm.map(ContextId::DEFAULT, 5, 6, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, 5, 6));
            assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
            assert_ne!(tag(vm, DEVICE), Some(new));
            assert!(vm.lands_in(DEVICE, 5, 5));
        }
        vm.end();
    });
}

/// One tag is kept back for this, however many contexts a guest attaches devices to.
#[test]
fn a_guest_cannot_use_up_the_tag_that_a_switch_needs() {
    with(&config(3), |vm| {
        let (first, second) = (vm.context(), vm.context());
        assert_eq!(vm.attach(SECOND, first), 0);
        assert_eq!(vm.attach(THIRD, second), err(Errno::ENOSPC));
        assert!(vm.lands_in(THIRD, 5, 5), "it is where it was");
        assert_eq!(take(vm, OwnershipMode::CLEAR), 0);
        assert_eq!(vm.attach(THIRD, second), err(Errno::ENOSPC));
        assert_eq!(vm.attach(THIRD, first), 0);
        assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
        vm.end();
    });
}

/// Without any, the old map stays, and nothing is lost; tried more often than there are tags.
#[test]
fn without_a_tag_the_old_map_stays() {
    // One for the quarantine of each of two devices, one for the default map.
    let config = config(3).with_quarantine(Background::Scratch);
    let started = try_run(&config, |bed| {
        let vm = Vm::new(bed, GUEST, 0);
        assert_eq!(bed.set_default(GUEST, DefaultMap::Guest), Ok(()));
        assert_eq!(bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(bed.quarantine(SECOND), Ok(()));
        let old = bed.board().device_entries(DEVICE);
        let before = bed.counters();
        for _ in 0..4 {
            assert_eq!(take(&vm, OwnershipMode::CLEAR), err(Errno::ENOSPC));
            assert_eq!(bed.board().device_entries(DEVICE), old);
            assert!(vm.lands_in(DEVICE, 5, 5));
            assert!(!bed.domain(GUEST).owns_default());
            let after = bed.counters();
            assert_eq!(before.table_frames_live, after.table_frames_live);
            assert_eq!(before.references_live, after.references_live);
        }
        assert_eq!(take(&vm, OwnershipMode::KEEP), 0, "that needs none");
        assert_eq!(vm.map(ContextId::DEFAULT, 5, 6, 1, RW), (0, 1));
        assert_eq!(take(&vm, OwnershipMode::GIVE_BACK), err(Errno::ENOSPC));
        assert!(vm.lands_in(DEVICE, 5, 6), "it is still the guest's");
        assert_eq!(vm.map(ContextId::DEFAULT, 6, 7, 1, RW), (0, 1));
        vm.end();
    });
    assert!(started.is_ok());
}
