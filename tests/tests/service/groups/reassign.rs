//! A group goes from one domain to another in one call.

use pviommu_abi::{DomId, Errno};
use pviommu_hypervisor::{DefaultMap, DeviceFacts, OptIns, ReassignError, Risks, Scope};
use pviommu_testbed::machine::{Config, Half, Step, When};

use super::kit::{ALONE, BELOW, BESIDE, GROUP, config, owners};
use crate::kit::{DEVICE, GUEST, OTHER, RW, Vm, with};

fn mapped() -> Config {
    config().with_default_map(DefaultMap::Guest)
}

fn end(vm: &Vm<'_>) {
    assert_eq!(vm.bed.teardown(OTHER, 0), 0);
    vm.end();
}

#[test]
fn a_group_goes_whole_to_another_domain_and_takes_nothing_along() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1));
        assert_eq!(vm.bed.reassign(GUEST, OTHER, BELOW), Ok(()));
        assert_eq!(owners(vm.bed), [Some(OTHER); 3]);
        assert!(!vm.reads(DEVICE, 10));
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Err(Errno::EBUSY));
        assert_eq!(vm.bed.reassign(OTHER, GUEST, BESIDE), Ok(()));
        assert_eq!(vm.bed.unassign(GUEST, 0, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [None; 3], "they went together, and stay so");
        end(vm);
    });
}

#[test]
fn what_can_be_known_before_is_refused_before_anything_is_taken() {
    let mut config = mapped();
    config.devices[1].facts = DeviceFacts::empty();
    config.domains[0].opt_ins = OptIns::UNSAFE_INTERRUPTS;
    with(&config, |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let refused = |from, to, device, errno| {
            let end = vm.bed.reassign(from, to, device);
            assert_eq!(end, Err(ReassignError::Kept(errno)));
            assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
            assert!(vm.lands_in(BELOW, 5, 5));
        };
        refused(GUEST, OTHER, DEVICE, Errno::EPERM);
        refused(OTHER, GUEST, DEVICE, Errno::ENODEV);
        refused(GUEST, GUEST, DEVICE, Errno::EINVAL);
        refused(GUEST, OTHER, ALONE, Errno::ENODEV);
        refused(GUEST, OTHER, pviommu_abi::PciDevice::new(0, 9, 0, 0), Errno::ENODEV);
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        refused(GUEST, OTHER, DEVICE, Errno::ESRCH);
        vm.end();
    });
}

/// A risk that is accepted meanwhile does not part it.
#[test]
fn what_came_together_goes_on_together_although_it_may_be_split_by_now() {
    with(&mapped(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let accepted = vm.bed.iommu().accept_risks(DEVICE, Scope::Group, Risks::SPLIT_GROUP);
        assert_eq!(accepted, Ok(()));
        vm.bed.schedule().set(Step::AttachRefused, When::Nth(1));
        let end = vm.bed.reassign(GUEST, OTHER, DEVICE);
        vm.bed.schedule().clear();
        assert_eq!(end, Err(ReassignError::Kept(Errno::ENOMEM)));
        let said = end.unwrap_err().to_string();
        assert_eq!(said, "not given (ENOMEM); who had it has it");
        assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
        assert_eq!(vm.bed.reassign(GUEST, OTHER, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(OTHER); 3]);
        self::end(vm);
    });
}

/// At the first, the second and the third of what is attached to its tables.
#[test]
fn what_cannot_be_given_to_the_other_goes_back() {
    for n in 1..=3 {
        with(&mapped(), |vm| {
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
            for _ in 0..100 {
                vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
                let end = vm.bed.reassign(GUEST, OTHER, BESIDE);
                vm.bed.schedule().clear();
                assert_eq!(end, Err(ReassignError::Kept(Errno::ENOMEM)));
                assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
                assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 5, 5)));
            }
            assert_eq!(vm.bed.reassign(GUEST, OTHER, BESIDE), Ok(()));
            end(vm);
        });
    }
}

#[test]
fn what_can_be_given_neither_on_nor_back_is_nobodys_and_that_is_said() {
    with(&mapped(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        vm.bed.schedule().set(Step::AttachRefused, When::From(2));
        let end = vm.bed.reassign(GUEST, OTHER, BESIDE);
        vm.bed.schedule().clear();
        assert_eq!(end, Err(ReassignError::Lost(Errno::ENOMEM)));
        let said = end.unwrap_err().to_string();
        assert_eq!(said, "not given (ENOMEM), and not given back: nobody has it");
        assert_eq!(owners(vm.bed), [None; 3]);
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()), "it is free, and well");
        self::end(vm);
    });
    for half in [Half::Nothing, Half::Done] {
        with(&mapped(), |vm| {
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
            vm.bed.schedule().hardware_fails(half);
            vm.bed.schedule().set(Step::Attach, When::Nth(2));
            let end = vm.bed.reassign(GUEST, OTHER, BESIDE);
            vm.bed.schedule().clear();
            assert_eq!(end, Err(ReassignError::Lost(Errno::EIO)));
            assert_eq!(owners(vm.bed), [None; 3]);
            assert_eq!(vm.bed.violations(), []);
        });
    }
}

/// A third one asks all the time, and gets the group only from who has it.
#[test]
fn nobody_gets_hold_of_a_group_that_is_on_its_way() {
    const THIRD: DomId = DomId(3);
    let mut config = config();
    config.cpus = 2;
    let third = pviommu_testbed::machine::DomainConfig { id: THIRD, ..config.domains[1].clone() };
    config.domains.push(third);
    with(&config, |vm| {
        let (bed, iommu) = (vm.bed, vm.bed.iommu());
        assert_eq!(bed.assign(GUEST, DEVICE), Ok(()));
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| {
                let mut answers = (0..4000).map(|_| iommu.assign(bed.domain(THIRD), 1, BELOW));
                answers.all(|it| matches!(it, Err(Errno::EBUSY | Errno::EAGAIN)))
            });
            for _ in 0..200 {
                let (one, other) = (bed.domain(GUEST), bed.domain(OTHER));
                assert_eq!(iommu.reassign(one, other, 0, DEVICE), Ok(()));
                assert_eq!(iommu.reassign(other, one, 0, BESIDE), Ok(()));
            }
            assert!(asks.join().unwrap());
        });
        assert_eq!(owners(bed), [Some(GUEST); 3]);
        assert_eq!(bed.teardown(THIRD, 0), 0);
        end(vm);
    });
}
