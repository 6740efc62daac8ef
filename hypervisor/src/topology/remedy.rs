//! What would part functions, in words.

use core::fmt;

use pviommu_abi::PciDevice;

use super::{
    Acs, AcsBits, Function, Group, Kind, Node, Reason, Topology, groups::at, node::Marks, quirks,
    report::Bits,
};

/// What would part functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Remedy<'t> {
    /// These controls of a function are to be switched on.
    SwitchOn(&'t Function, AcsBits),
    /// Egress control of a function is to be switched off.
    SwitchEgressControlOff(&'t Function),
    /// The function has no access control: its vendor has to say that it does no peer-to-peer.
    AskVendor(&'t Function),
    /// The registers of the chipset that this root port is of are switched off by firmware.
    ReachChipset(&'t Function),
    /// What the function can do is not known: all of its configuration space is to be read.
    ReadAll(&'t Function),
    /// A bus below this bridge is a conventional one: a slot of PCI Express.
    OtherSlot(&'t Function),
    /// Nothing: this one is inside a switch and no port, so that it reaches all that is below.
    InsideSwitch(&'t Function),
    /// Nothing parts what shares ids.
    OneId(&'t Function, &'t Function),
    /// Firmware has both use one range of memory: a setting of firmware's, if there is one.
    FirmwareMemory(&'t Function, &'t Function),
    /// Firmware has put registers of both into one page: it is to be told to align them to pages.
    AlignRegisters(&'t Function, &'t Function),
    /// All requests of the first are sent by the second: firmware may be able to switch that off.
    FirmwareMode(&'t Function, &'t Function),
}

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchOn(function, bits) => {
                write!(f, "switch on {} at {} (ACS control)", Bits(*bits), function.address)
            }
            Self::SwitchEgressControlOff(function) => {
                write!(f, "switch off EgressControl at {} (ACS control)", function.address)
            }
            Self::AskVendor(function) => write!(
                f,
                "a statement of the vendor of {} ({:04x}:{:04x}) that it does no peer-to-peer: a quirk is needed",
                function.address, function.identity.vendor, function.identity.device
            ),
            Self::ReachChipset(function) => write!(
                f,
                "a firmware setting: the chipset registers (RCBA) for {} are switched off",
                function.address
            ),
            Self::ReadAll(function) => write!(
                f,
                "read all of the configuration space of {}, which takes privileges",
                function.address
            ),
            Self::OtherSlot(bridge) => write!(
                f,
                "another slot: below {} is a conventional bus, and nothing isolates there",
                bridge.address
            ),
            Self::InsideSwitch(function) => write!(
                f,
                "nothing: {} is inside the switch, and no port keeps its requests from what is below",
                function.address
            ),
            Self::OneId(one, other) => {
                write!(f, "nothing: {} and {} share requester ids", one.address, other.address)
            }
            Self::FirmwareMemory(one, other) => write!(
                f,
                "a firmware setting that ends the common memory of {} and {} (USB legacy support, management)",
                one.address, other.address
            ),
            Self::AlignRegisters(one, other) => write!(
                f,
                "registers of {} and {} on pages of their own (resource alignment)",
                one.address, other.address
            ),
            Self::FirmwareMode(one, other) => write!(
                f,
                "a firmware setting: {} sends all requests of {} (VMD)",
                other.address, one.address
            ),
        }
    }
}

impl Topology<'_> {
    /// Tells `each` what would have to be done for this function to be in a group of its own; a thing may be
    /// told more than once. Nothing is told of one that is.
    pub fn remedies<'t>(&'t self, address: PciDevice, each: &mut dyn FnMut(Remedy<'t>)) {
        let (nodes, Some(group)) = (self.nodes(), self.group_of(address)) else { return };
        let Some(node) = self.node(address).filter(|_| group.size() > 1) else { return };
        let mut here = Some(node);
        while let Some(node) = here {
            Self::remedies_of_device(&group, node, each);
            remedies_beside(&group, node, each);
            here = at(nodes, node.above);
            let open = here.and_then(|bridge| bridge.open_below().map(|why| (bridge, why)));
            match open {
                Some((bridge, Reason::OpenSwitch)) => {
                    for inside in nodes.iter().filter(|it| {
                        at(nodes, it.above).is_some_and(|up| core::ptr::eq(up, bridge))
                    }) {
                        if inside.facts.kind != Kind::DownstreamPort {
                            each(Remedy::InsideSwitch(&inside.facts));
                        } else if inside.marks.contains(Marks::OPEN) {
                            each(remedy_of(&inside.facts));
                        }
                    }
                }
                Some((bridge, Reason::ConventionalBus)) => each(Remedy::OtherSlot(&bridge.facts)),
                Some((bridge, _)) => each(remedy_of(&bridge.facts)),
                None => {}
            }
        }
    }

    /// What the open functions of a device would need, if it has several functions.
    fn remedies_of_device<'t>(group: &Group<'t>, node: &'t Node, each: &mut dyn FnMut(Remedy<'t>)) {
        let of_device = || group.member_nodes().filter(|other| other.device == node.device);
        if of_device().nth(1).is_none() {
            return;
        }
        for open in of_device().filter(|other| other.marks.contains(Marks::OPEN)) {
            each(remedy_of(&open.facts));
        }
    }
}

/// What parts a function from those that it is tied to beside it.
fn remedies_beside<'t>(group: &Group<'t>, node: &Node, each: &mut dyn FnMut(Remedy<'t>)) {
    let here = node.facts.address;
    for tie in group.ties().filter(|tie| tie.one.address == here || tie.other.address == here) {
        let (one, other) = (tie.one, tie.other);
        match tie.reason {
            Reason::SharedId | Reason::FirmwareAlias => each(Remedy::OneId(one, other)),
            Reason::SharedDirectRange => each(Remedy::FirmwareMemory(one, other)),
            Reason::SharedRegisterPage => each(Remedy::AlignRegisters(one, other)),
            Reason::InTheNameOf => each(Remedy::FirmwareMode(one, other)),
            _ => {}
        }
    }
}

/// What a function would need to isolate.
fn remedy_of(function: &Function) -> Remedy<'_> {
    match function.acs {
        _ if function.kind == Kind::Unknown => Remedy::ReadAll(function),
        acs @ Acs::Present { .. } if !acs.missing().is_empty() => {
            Remedy::SwitchOn(function, acs.missing())
        }
        acs if acs.has_egress_control() => Remedy::SwitchEgressControlOff(function),
        Acs::Unknown if function.kind.is_pcie() => Remedy::ReadAll(function),
        _ if quirks::is_pch_root_port(function) => Remedy::ReachChipset(function),
        _ => Remedy::AskVendor(function),
    }
}
