//! What a topology takes, and how it changes. Whether groups are right is tested on captures and against
//! a simulated fabric, in the testbed.

mod building;
mod changing;
mod ids;
mod isolating;
mod like_linux;
mod parting;
mod words;

use pviommu_abi::PciDevice;

use super::{Acs, AcsBits, BusNumbers, Firmware, Function, Identity, Kind, Mode, Node, Topology};

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

/// Vendor and device of a function that may use the id of the first function of its slot.
pub(super) const RICOH: (u16, u16) = (0x1180, 0xe476);
/// Of the management function of a switch, that may use any id.
pub(super) const SWITCHTEC: (u16, u16) = (0x11f8, 0x4000);
/// Of a card whose functions do not talk to each other, its maker says.
pub(super) const EMULEX: (u16, u16) = (0x10df, 0x0720);

pub(super) fn made_by((vendor, device): (u16, u16), function: Function) -> Function {
    Function { identity: Identity { vendor, device, ..function.identity }, ..function }
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

/// The same of these functions.
pub(super) fn groups_in(functions: &[Function], mode: Mode) -> Vec<String> {
    let mut room = nodes(functions, 0);
    let firmware = Firmware::default();
    groups(&Topology::build(&mut room, functions.len(), firmware, mode).unwrap())
}
