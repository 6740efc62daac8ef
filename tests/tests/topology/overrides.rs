//! What is said of functions that count as isolating by the operator's word alone.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::topology::{Change, Firmware, Function, Mode, Node, Topology, Traits};

use crate::listener::lines_of;

#[test]
fn every_override_is_told_to_the_log_at_the_start_and_when_its_function_comes() {
    let plain = |function| Function::new(PciDevice::new(0, 0, 2, function));
    let vouched = |function| Function { traits: Traits::VOUCHED, ..plain(function) };
    let said = |name| {
        format!("pviommu: 0000:00:02.{name} counts as isolating by the operator's word alone")
    };
    let lines = lines_of(|| {
        let mut nodes = [plain(0), vouched(1), vouched(2)].map(Node::new).to_vec();
        nodes.resize(5, Node::vacant());
        let firmware = Firmware::default();
        let mut topology = Topology::build(&mut nodes, 3, firmware, Mode::Safe).unwrap();
        topology.plan(Change::Add(&[plain(3), vouched(4)])).unwrap().keep();
    });
    assert_eq!(lines, [1, 2, 4].map(said));
}
