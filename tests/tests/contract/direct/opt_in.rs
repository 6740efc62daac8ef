//! Who may have a device whose firmware needs memory of its own.

use pviommu_abi::{DomId, Errno};
use pviommu_hypervisor::{OptIns, Role};
use pviommu_testbed::machine::DomainConfig;

use super::kit::{ALL, SECOND, check, direct, machine};
use crate::kit::{DEVICE, DOM0, GUEST, with};

const OTHER: DomId = DomId(2);

#[test]
fn a_guest_gets_it_by_an_opt_in_and_the_hardware_domain_without() {
    let range = direct(0x8000, 2, ALL);
    let mut config = machine(&[&[range], &[]]);
    config.devices[0].unowned = true;
    let guest = DomainConfig { opt_ins: OptIns::empty(), ..config.domains[0].clone() };
    let hardware = DomainConfig { id: DOM0, role: Role::Hardware, ..guest.clone() };
    config.domains.extend([DomainConfig { id: OTHER, ..guest }, hardware]);
    with(&config, |vm| {
        let (free, own) = (vm.bed.board().device_entries(DEVICE), |domain, function| {
            vm.bed.assign(domain, function).and_then(|()| vm.bed.unassign(domain, 0, function))
        });
        assert_eq!(own(OTHER, DEVICE), Err(Errno::EPERM));
        assert_eq!(vm.bed.board().device_entries(DEVICE), free, "it has not moved");
        check(vm, DEVICE, &range);
        assert_eq!(own(DOM0, DEVICE), Ok(()));
        check(vm, DEVICE, &range);
        assert_eq!(own(GUEST, DEVICE), Ok(()));
        check(vm, DEVICE, &range);
        // A device without such memory needs none.
        assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));
        assert_eq!(own(OTHER, SECOND), Ok(()));
        vm.end();
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        assert_eq!(vm.bed.teardown(DOM0, 0), 0);
        vm.bed.assert_clean();
    });
}
