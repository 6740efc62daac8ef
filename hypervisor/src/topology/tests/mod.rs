//! What a topology takes, and how it changes. Whether groups are right is tested on captures and against
//! a simulated fabric, in the testbed.

mod building;
mod changing;
mod parting;
mod words;

use pviommu_abi::PciDevice;

use super::{Acs, AcsBits, BusNumbers, Firmware, Function, Kind, Mode, Node, Topology};

/// `bb:dd.f`.
pub(super) fn at(text: &str) -> PciDevice {
    let number = |range: core::ops::Range<usize>| u8::from_str_radix(&text[range], 16).unwrap();
    PciDevice::new(0, number(0..2), number(3..5), number(6..7))
}

pub(super) fn function(name: &str, kind: Kind) -> Function {
    Function { kind, acs: Acs::Absent, ..Function::new(at(name)) }
}

pub(super) fn endpoint(name: &str) -> Function {
    function(name, Kind::Endpoint)
}

/// A port or bridge to these buses, without access control.
pub(super) fn bridge(name: &str, kind: Kind, secondary: u8, subordinate: u8) -> Function {
    Function { buses: Some(BusNumbers { secondary, subordinate }), ..function(name, kind) }
}

/// The same with all of it, switched on.
pub(super) fn isolating(function: Function) -> Function {
    let bits = AcsBits::ISOLATION;
    Function { acs: Acs::Present { capability: bits, control: bits, at: 0x100 }, ..function }
}

/// A switch with two ports that isolate below a root port that does, and a card below each.
pub(super) fn switch() -> Vec<Function> {
    vec![
        isolating(bridge("00:01.0", Kind::RootPort, 1, 4)),
        bridge("01:00.0", Kind::UpstreamPort, 2, 4),
        isolating(bridge("02:00.0", Kind::DownstreamPort, 3, 3)),
        isolating(bridge("02:01.0", Kind::DownstreamPort, 4, 4)),
        endpoint("03:00.0"),
        endpoint("04:00.0"),
    ]
}

/// Room for `functions`, and for `spare` more.
pub(super) fn nodes(functions: &[Function], spare: usize) -> Vec<Node> {
    let mut nodes: Vec<_> = functions.iter().copied().map(Node::new).collect();
    nodes.resize(functions.len() + spare, Node::vacant());
    nodes
}

pub(super) fn build<'a>(nodes: &'a mut [Node], count: usize) -> Topology<'a> {
    Topology::build(nodes, count, Firmware::default(), Mode::Safe).unwrap()
}

/// Groups of several, as text.
pub(super) fn groups(topology: &Topology<'_>) -> Vec<String> {
    let several = topology.groups().filter(|group| group.size() > 1);
    several
        .map(|group| {
            let names = group.members().map(|it| it.address.to_string()[5..].to_owned());
            names.collect::<Vec<_>>().join(" ")
        })
        .collect()
}
