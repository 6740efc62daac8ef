//! Groups in words: why functions are together, and what would part them.

use core::fmt;

use pviommu_abi::PciDevice;

use super::{
    Acs, AcsBits, Function, Group, Kind, Node, Reason, Topology, Traits,
    groups::{Tied, at},
    node::{Marks, NONE},
    quirks,
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
    /// Nothing parts what shares ids.
    OneId(&'t Function, &'t Function),
    /// Firmware has both use one range of memory: a setting of firmware's, if there is one.
    FirmwareMemory(&'t Function, &'t Function),
    /// Firmware has put registers of both into one page: it is to be told to align them to pages.
    AlignRegisters(&'t Function, &'t Function),
    /// All requests of the first are sent by the second: firmware may be able to switch that off.
    FirmwareMode(&'t Function, &'t Function),
}

impl fmt::Display for Tied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, other) = (self.one.address, self.other.address);
        match self.reason {
            Reason::SameDevice if self.one.is_virtual() || self.other.is_virtual() => write!(
                f,
                "{one} and {other} are of one device with virtual functions, and {other} {}",
                Open(self.other)
            ),
            Reason::SameDevice => write!(
                f,
                "{one} and {other} are functions of one device, and {other} {}",
                Open(self.other)
            ),
            Reason::ConventionalBus => write!(
                f,
                "{one} is on the bus below {other}, which {}: all there reach each other and send with one id",
                Open(self.other)
            ),
            Reason::OpenPort => write!(
                f,
                "{one} is below {other}, which {}, and so may send requests back down",
                Open(self.other)
            ),
            Reason::OpenSwitch => {
                let witness = self.witness.unwrap_or(self.other);
                write!(
                    f,
                    "{one} is in the switch below {other}, where {} {}",
                    witness.address,
                    Inside(witness)
                )
            }
            Reason::BelowTied => write!(f, "{one} is below {other}, which is tied to others"),
            Reason::SharedId => {
                write!(f, "requests of {one} and {other} may carry the same id")
            }
            Reason::FirmwareAlias => {
                write!(f, "firmware says that requests of {one} and {other} carry the same id")
            }
            Reason::InTheNameOf => write!(f, "all requests of {one} are sent by {other}"),
            Reason::SharedDirectRange => {
                write!(f, "firmware has {one} and {other} use the same memory")
            }
            Reason::SharedRegisterPage => {
                write!(f, "{one} and {other} have registers in the same page")
            }
            Reason::LinuxAlias => write!(f, "requests of {one} are taken over by {other}"),
            Reason::LinuxPath => {
                write!(
                    f,
                    "{one} is below {other}, which does not isolate, or is below what does not"
                )
            }
            Reason::LinuxSameBus => write!(f, "{one} shares ids with {other}"),
            Reason::LinuxSlot => {
                write!(f, "{one} and {other} are functions of one slot, and neither isolates")
            }
        }
    }
}

/// Why a function does not isolate.
struct Open<'t>(&'t Function);

impl fmt::Display for Open<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.kind, self.0.acs) {
            (Kind::Unknown, _) => f.write_str("is of a kind that is not known"),
            (Kind::Conventional, _) if self.0.buses.is_some() => {
                f.write_str("leads to a conventional bus")
            }
            (Kind::Conventional, _) => f.write_str("is conventional PCI"),
            (Kind::PcieToPciBridge | Kind::PciToPcieBridge, _) => {
                f.write_str("joins PCI Express and a conventional bus")
            }
            (Kind::EventCollector, _) => f.write_str("is an event collector"),
            (_, Acs::Unknown) => f.write_str("is not known to have access control (ACS)"),
            (_, Acs::Absent) => f.write_str("has no access control (ACS)"),
            (_, acs @ Acs::Present { .. }) if !acs.missing().is_empty() => {
                write!(f, "has {} switched off", Bits(acs.missing()))
            }
            (_, acs) if acs.has_egress_control() => {
                f.write_str("has EgressControl switched on, which overrides redirection")
            }
            _ => f.write_str("does not isolate"),
        }
    }
}

/// Why a function inside a switch opens it.
struct Inside<'t>(&'t Function);

impl fmt::Display for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.kind != Kind::DownstreamPort {
            return f.write_str("is no port: it reaches all others, and they reach it");
        }
        if !quirks::aliases(self.0).is_empty() {
            return f.write_str("may use the ids of its neighbours");
        }
        Open(self.0).fmt(f)
    }
}

/// Controls by name.
struct Bits(AcsBits);

const NAMES: [(AcsBits, &str); 4] = [
    (AcsBits::SOURCE_VALIDATION, "SourceValidation"),
    (AcsBits::REQUEST_REDIRECT, "RequestRedirect"),
    (AcsBits::COMPLETION_REDIRECT, "CompletionRedirect"),
    (AcsBits::UPSTREAM_FORWARDING, "UpstreamForwarding"),
];

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = false;
        for (bit, name) in NAMES {
            if self.0.contains(bit) {
                f.write_str(if before { ", " } else { "" })?;
                f.write_str(name)?;
                before = true;
            }
        }
        Ok(())
    }
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
                            each(Remedy::OneId(&inside.facts, &bridge.facts));
                        } else if inside.marks.contains(Marks::OPEN) {
                            each(remedy_of(inside));
                        }
                    }
                }
                Some((bridge, Reason::ConventionalBus)) => each(Remedy::OtherSlot(&bridge.facts)),
                Some((bridge, _)) => each(remedy_of(bridge)),
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
            each(remedy_of(open));
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
fn remedy_of<'t>(node: &'t Node) -> Remedy<'t> {
    let function = &node.facts;
    match function.acs {
        _ if function.kind == Kind::Unknown => Remedy::ReadAll(function),
        acs @ Acs::Present { .. } if acs.missing().is_empty() => {
            Remedy::SwitchEgressControlOff(function)
        }
        Acs::Present { .. } => Remedy::SwitchOn(function, function.acs.missing()),
        Acs::Unknown if function.kind.is_pcie() => Remedy::ReadAll(function),
        _ if is_of_chipset(node) => Remedy::ReachChipset(function),
        _ => Remedy::AskVendor(function),
    }
}

fn is_of_chipset(node: &Node) -> bool {
    let place = quirks::Place { multifunction: true, on_root_bus: node.above == NONE, ivrs: false };
    matches!(quirks::claim(&node.facts, place), Some(quirks::Claim::ChipsetPort))
}

impl Function {
    /// True if the operator vouches for it.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        self.traits.contains(Traits::VOUCHED)
    }
}
