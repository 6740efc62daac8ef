//! "Splitting a multi-function PCI device between guests with VFIO?" (kvm, February 2014): an adapter of two
//! ports has six functions, three for each port; one guest was to be the initiator on one port, another the
//! target on the other. The second one is told that the device is busy: the functions say nothing of
//! what keeps them apart. A word of the vendor would do, and so would somebody's who takes the risk by name.

use pviommu_abi::{DeviceFlags, Errno, PciDevice};
use pviommu_hypervisor::{
    Risks, Scope,
    topology::{Function, Identity, Remedy, Traits},
};

use super::kit::{at, drive, end, functions, machine, other, owner, stats, told, topology, works};
use crate::guest::{GUEST, OTHER, Vm, with};

/// The function for storage of either port.
const INITIATOR: PciDevice = PciDevice { seg: 0, bus: 0x82, devfn: 2 };
const TARGET: PciDevice = PciDevice { seg: 0, bus: 0x82, devfn: 3 };

/// All six functions of the card.
fn card() -> [PciDevice; 6] {
    [0, 1, 2, 3, 4, 5].map(|devfn| PciDevice { devfn, ..INITIATOR })
}

/// The machine, with its card changed.
fn with_card(change: impl Fn(&mut Function)) -> Vec<Function> {
    let mut functions = functions("mfd-none");
    functions.iter_mut().filter(|it| it.address.bus == 0x82).for_each(change);
    functions
}

fn qlogic() -> Vec<Function> {
    with_card(|_| {})
}

fn accept(vm: &Vm<'_>, device: PciDevice, risks: Risks) {
    assert_eq!(vm.bed.iommu().accept_risks(device, Scope::Device, risks), Ok(()));
}

#[test]
fn the_guest_that_is_given_one_function_has_the_card_and_the_second_guest_is_told_that_it_is_busy()
{
    with(&machine(&qlogic(), None), |vm| {
        assert_eq!(vm.bed.assign(GUEST, INITIATOR), Ok(()));
        assert_eq!(card().map(|it| owner(vm.bed, it)), [Some(GUEST); 6]);
        drive(vm, INITIATOR);
        for function in card() {
            assert_eq!(vm.bed.assign(OTHER, function), Err(Errno::EBUSY));
        }
        assert_eq!(
            other(vm).attach(TARGET, pviommu_abi::ContextId::DEFAULT),
            Errno::ENODEV.to_ret()
        );
        assert!(works(vm, INITIATOR), "the first guest notices nothing");
        // It can use the rest, and knows that the functions are not kept from each other.
        drive(vm, TARGET);
        assert_eq!(vm.describe(INITIATOR).group, vm.describe(TARGET).group);
        let expected = DeviceFlags::SHARING_RISK | DeviceFlags::INTERRUPTS_ISOLATED;
        assert_eq!(card().map(|it| told(vm, it)), [expected; 6]);
        // Whole it goes back, and then the other one has it.
        assert_eq!(vm.bed.unassign(GUEST, 0, TARGET), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, TARGET), Ok(()));
        assert_eq!(card().map(|it| owner(vm.bed, it)), [Some(OTHER); 6]);
        end(vm);
    });
}

#[test]
fn the_operator_is_told_why_and_whom_to_ask() {
    let (functions, mut room) = (qlogic(), Vec::new());
    let topology = topology(&functions, &mut room);
    let group = topology.group_of(INITIATOR).unwrap();
    assert_eq!(group.size(), 6);
    for tie in group.ties() {
        let why = tie.to_string();
        assert!(why.contains("functions of one device") && why.contains("has no access control"));
    }
    let mut vendors = Vec::new();
    topology.remedies(INITIATOR, &mut |remedy| match remedy {
        Remedy::AskVendor(function) => vendors.push(function.address),
        other => panic!("{other}"),
    });
    assert_eq!(vendors, card(), "of every function that may be reached");
}

/// A vendor who has said so, and an operator who says so for his vendor: each function is alone then.
#[test]
fn functions_for_which_somebody_vouches_go_to_two_guests() {
    // Emulex has said of these that they are kept apart.
    let emulex =
        Identity { vendor: 0x10df, device: 0x0720, class: 0x0c_0400, ..Identity::default() };
    let vendor = with_card(|function| function.identity = emulex);
    let operator = with_card(|function| function.traits |= Traits::VOUCHED);
    for (functions, vouched) in [(vendor, 0), (operator, 6)] {
        let mut room = Vec::new();
        let topology = topology(&functions, &mut room);
        let reported = topology.functions().filter(|function| function.is_vouched_for());
        assert_eq!(reported.count(), vouched, "it is seen that it is an operator's word");
        with(&machine(&functions, None), |vm| {
            let second = other(vm);
            assert_eq!(vm.bed.assign(GUEST, INITIATOR), Ok(()));
            assert_eq!(vm.bed.assign(OTHER, TARGET), Ok(()));
            assert_eq!(owner(vm.bed, at("82:00.0")), None);
            drive(vm, INITIATOR);
            drive(&second, TARGET);
            assert!(works(vm, INITIATOR) && works(&second, TARGET));
            assert_eq!(told(vm, INITIATOR), DeviceFlags::INTERRUPTS_ISOLATED);
            assert_eq!(told(&second, TARGET), DeviceFlags::INTERRUPTS_ISOLATED);
            assert!(!stats(vm.bed, INITIATOR).alone, "there is nothing that it was split from");
            end(vm);
        });
    }
}

/// A vouching operator has to name every function: one that is left out may reach those that are not.
#[test]
fn one_function_for_which_nobody_vouches_keeps_the_card_together() {
    let functions = with_card(|function| {
        let left_out = function.address == at("82:00.5");
        function.traits.set(Traits::VOUCHED, !left_out);
    });
    with(&machine(&functions, None), |vm| {
        assert_eq!(vm.bed.assign(GUEST, INITIATOR), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, TARGET), Err(Errno::EBUSY));
        end(vm);
    });
}

/// By name, for each of the two, and for good seen: by the operator, and by each guest of its own.
#[test]
fn a_split_that_is_accepted_for_both_functions_is_made_and_told_to_everybody() {
    with(&machine(&qlogic(), None), |vm| {
        let second = other(vm);
        accept(vm, INITIATOR, Risks::SPLIT_GROUP);
        assert_eq!(vm.bed.assign(GUEST, INITIATOR), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, TARGET), Err(Errno::EBUSY), "not for this one");
        accept(vm, TARGET, Risks::SPLIT_GROUP);
        assert_eq!(vm.bed.assign(OTHER, TARGET), Ok(()));
        let has = card().map(|it| owner(vm.bed, it));
        assert_eq!(has, [None, None, Some(GUEST), Some(OTHER), None, None]);
        drive(vm, INITIATOR);
        drive(&second, TARGET);
        assert!(works(vm, INITIATOR) && works(&second, TARGET));
        let risk = DeviceFlags::HIDDEN_MEMBERS
            | DeviceFlags::SHARING_RISK
            | DeviceFlags::INTERRUPTS_ISOLATED;
        assert_eq!((told(vm, INITIATOR), told(&second, TARGET)), (risk, risk));
        for device in [INITIATOR, TARGET] {
            let stats = stats(vm.bed, device);
            assert!(stats.alone && stats.risks.contains(Risks::SPLIT_GROUP));
            let line = stats.to_string();
            assert!(line.contains("given without the rest") && line.contains("SPLIT_GROUP"));
        }
        // What was accepted is taken back: it stays as it is until they are given back.
        accept(vm, TARGET, Risks::empty());
        assert!(stats(vm.bed, TARGET).alone && works(&second, TARGET));
        assert_eq!(vm.bed.unassign(OTHER, 0, TARGET), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, TARGET), Err(Errno::EBUSY));
        end(vm);
    });
}
