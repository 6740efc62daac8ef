//! A machine made by hand, two guests that want its devices, and what they are told of them.

use pviommu_abi::{ContextId, DeviceFlags, DeviceHandle, DomId, PciDevice, ReservedRange};
use pviommu_guest::{IommuClient, ReservedOf};
use pviommu_hypervisor::{
    operator::DeviceStats,
    topology::{Firmware, Function, Mode, Node, Regions, Topology},
};
use pviommu_testbed::{
    machine::{Bed, Config},
    pci::convert,
};

use crate::{
    guest::{OTHER, RW, Vm, two_guests},
    kit::handmade,
};

/// Functions that can come later.
const SPARE: usize = 4;

/// Where a guest's driver has its page: the bus frame, and the guest frame behind it.
pub(super) const BFN: u64 = 10;
pub(super) const GFN: u64 = 1;

/// The function that is called so, without a segment.
pub(super) fn at(name: &str) -> PciDevice {
    let name: pviommu_testbed::pci::Name = name.parse().unwrap();
    PciDevice { seg: 0, bus: name.bus, devfn: name.devfn }
}

/// The functions of a machine that is made by hand.
pub(super) fn functions(name: &str) -> Vec<Function> {
    convert::functions(&handmade(name))
}

/// The one of `functions` that is called so.
pub(super) fn find<'f>(functions: &'f mut [Function], name: &str) -> &'f mut Function {
    functions.iter_mut().find(|function| function.address == at(name)).unwrap()
}

/// Their groups, in memory of `room`, with room for some that come later.
pub(super) fn topology<'n>(functions: &[Function], room: &'n mut Vec<Node>) -> Topology<'n> {
    room.extend(functions.iter().copied().map(Node::new));
    let nobody = Node::new(Function::new(PciDevice::default()));
    room.resize(functions.len() + SPARE, nobody);
    Topology::build(room, functions.len(), Firmware::default(), Mode::Safe).unwrap()
}

/// A machine of these functions with two guests, of which neither has any.
pub(super) fn machine(functions: &[Function], regions: Option<&Regions<'_>>) -> Config {
    let mut room = Vec::new();
    two_guests(16).with_topology(&topology(functions, &mut room), regions)
}

/// The second guest, on the same CPU.
pub(super) fn other<'b>(vm: &Vm<'b>) -> Vm<'b> {
    Vm::new(vm.bed, OTHER, 0)
}

pub(super) fn stats(bed: &Bed<'_>, device: PciDevice) -> DeviceStats {
    bed.iommu().device_stats(device).unwrap()
}

/// Who has `device`.
pub(super) fn owner(bed: &Bed<'_>, device: PciDevice) -> Option<DomId> {
    stats(bed, device).owner
}

/// What a driver in the guest does first: a context with a page of its own at [`BFN`], and the device in it.
pub(super) fn drive(vm: &Vm<'_>, device: PciDevice) -> ContextId {
    let context = vm.context();
    assert_eq!(vm.map(context, BFN, GFN, 1, RW), (0, 1));
    assert_eq!(vm.attach(device, context), 0);
    assert!(works(vm, device));
    context
}

/// True if DMA of `device` lands in the guest's own page.
pub(super) fn works(vm: &Vm<'_>, device: PciDevice) -> bool {
    vm.lands_in(device, BFN, GFN)
}

/// Of what matters here, what the guest is told of its device.
pub(super) fn told(vm: &Vm<'_>, device: PciDevice) -> DeviceFlags {
    let matters = DeviceFlags::HIDDEN_MEMBERS
        | DeviceFlags::SHARING_RISK
        | DeviceFlags::INTERRUPTS_ISOLATED
        | DeviceFlags::STOPPED;
    vm.describe(device).state & matters
}

/// The reserved ranges that the guest is told for its device.
pub(super) fn ranges(vm: &Vm<'_>, device: PciDevice) -> Vec<ReservedRange> {
    let client = IommuClient::new(&vm.guest);
    let of = ReservedOf::Device(DeviceHandle::pci(device));
    let mut room = vec![ReservedRange::default(); client.count_reserved(of).unwrap()];
    client.query_reserved(of, &mut room).unwrap().to_vec()
}

/// Ends both guests, and checks that nothing is left.
pub(super) fn end(vm: &Vm<'_>) {
    assert_eq!(vm.bed.teardown(OTHER, 0), 0);
    vm.end();
}
