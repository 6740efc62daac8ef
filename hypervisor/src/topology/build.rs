//! From a list of functions to a tree: order, bridges, devices; and what cannot be.

use core::fmt;

use pviommu_abi::PciDevice;

use super::{
    BusNumbers, Function, Traits,
    node::{Marks, NONE, Nodes},
};

/// Buses of a segment.
const BUSES: usize = 256;

/// Why a list of functions cannot be a machine: what was read is wrong, or part of it is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Contradiction {
    /// There are more functions than there is room for.
    TooMany(usize),
    /// Two functions have this number.
    Twice(PciDevice),
    /// This bridge leads back up: its secondary bus is not after the one it is on.
    Loop(PciDevice, BusNumbers),
    /// This bridge's buses end before they begin.
    Backwards(PciDevice, BusNumbers),
    /// Both of these bridges lead to this bus.
    Overlap(PciDevice, PciDevice, u8),
    /// This bridge leads to buses that the bridge above it, the second one, does not lead to.
    Outside(PciDevice, PciDevice),
    /// This function is on a bus that is one of those below this bridge, but no bridge leads right there.
    Unconnected(PciDevice, PciDevice),
    /// This virtual function has no physical one, or it is not listed, or is virtual itself.
    NoPhysical(PciDevice),
    /// This virtual function is on a bus that another bridge leads to than the one above its physical function, the
    /// second.
    NotBeside(PciDevice, PciDevice),
    /// This function sends in the name of this one, which is not listed.
    NoSender(PciDevice, PciDevice),
    /// A list of firmware's is not in order, from this function on.
    NotSorted(PciDevice),
    /// This function is not listed.
    Unknown(PciDevice),
    /// This function is no port whose access control can be changed.
    NoControl(PciDevice),
    /// The change switches access control of this function on and off at once: it has to be done in two steps.
    Mixed(PciDevice),
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buses = |buses: &BusNumbers| (buses.secondary, buses.subordinate);
        match self {
            Self::TooMany(room) => {
                write!(f, "there is room for {room} functions, and there are more")
            }
            Self::Twice(function) => write!(f, "two functions are {function}"),
            Self::Loop(bridge, numbers) => write!(
                f,
                "bridge {bridge} leads to bus {:02x}, which is not below the bus it is on",
                buses(numbers).0
            ),
            Self::Backwards(bridge, numbers) => {
                let (first, last) = buses(numbers);
                write!(f, "bridge {bridge} leads to buses {first:02x} to {last:02x}: none")
            }
            Self::Overlap(one, other, bus) => {
                write!(f, "bridges {one} and {other} both lead to bus {bus:02x}")
            }
            Self::Outside(bridge, above) => {
                write!(f, "bridge {bridge} leads to buses that {above}, above it, does not lead to")
            }
            Self::Unconnected(function, bridge) => write!(
                f,
                "{function} is on a bus below bridge {bridge}, and the bridge that leads there is not listed"
            ),
            Self::NoPhysical(function) => {
                write!(f, "the physical function of virtual function {function} is not listed")
            }
            Self::NotBeside(function, physical) => write!(
                f,
                "virtual function {function} and its physical one, {physical}, are not below the same bridge"
            ),
            Self::NoSender(function, sender) => {
                write!(f, "{function} sends in the name of {sender}, which is not listed")
            }
            Self::NotSorted(function) => {
                write!(f, "the list of firmware is not in order from {function} on")
            }
            Self::Unknown(function) => write!(f, "there is no function {function}"),
            Self::Mixed(function) => {
                write!(f, "access control of {function} cannot be switched on and off in one step")
            }
            Self::NoControl(function) => {
                write!(f, "{function} has no access control that could be changed")
            }
        }
    }
}

impl core::error::Error for Contradiction {}

/// For each bus of a segment the innermost bridge that leads there.
struct Map([u32; BUSES]);

impl Map {
    fn get(&self, bus: u8) -> Option<u32> {
        self.0.get(usize::from(bus)).copied().filter(|bridge| *bridge != NONE)
    }
}

impl Nodes<'_> {
    /// Puts the functions into order and connects them.
    pub(super) fn connect(&mut self) -> Result<(), Contradiction> {
        let mut previous = None;
        for (_, node) in self.all() {
            let address = node.facts.address;
            if previous == Some(address) {
                return Err(Contradiction::Twice(address));
            }
            previous = Some(address);
        }
        for node in &mut *self.0 {
            (node.above, node.device, node.witness) = (NONE, NONE, NONE);
            (node.head, node.marks) = (NONE, node.marks & (Marks::ADDED | Marks::ALTERED));
        }
        let mut from = 0;
        while let Some(segment) = self.facts(from).map(|function| function.address.seg) {
            from = self.connect_segment(segment, from)?;
        }
        self.connect_virtual()?;
        self.find_devices();
        Ok(())
    }

    /// Connects the functions of one segment, of which `from` is the first; the first of the next one.
    fn connect_segment(&mut self, segment: u16, from: u32) -> Result<u32, Contradiction> {
        let mut map = Map([NONE; BUSES]);
        let mut node = from;
        while let Some(function) = self.facts(node).copied() {
            let address = function.address;
            if address.seg != segment {
                break;
            }
            // Buses are entered from lower numbers only, so the bridge to this one has been seen.
            let above = map.get(address.bus);
            if let Some(bridge) = above {
                // Virtual functions have buses that a bridge only keeps free for them.
                if !function.is_virtual() && !self.leads_to(bridge, address.bus) {
                    let bridge = self.facts(bridge).map_or(address, |it| it.address);
                    return Err(Contradiction::Unconnected(address, bridge));
                }
                if let Some(node) = self.at(node) {
                    node.above = bridge;
                }
            }
            if function.secondary().is_some()
                && let Some(buses) = function.buses
            {
                self.lead(node, &function, buses, above, &mut map)?;
            }
            node = node.saturating_add(1);
        }
        Ok(node)
    }

    /// True if `bus` is right below `bridge`.
    fn leads_to(&self, bridge: u32, bus: u8) -> bool {
        self.facts(bridge).and_then(Function::secondary) == Some(bus)
    }

    /// Notes the buses that a bridge leads to.
    fn lead(
        &self,
        node: u32,
        function: &Function,
        buses: BusNumbers,
        above: Option<u32>,
        map: &mut Map,
    ) -> Result<(), Contradiction> {
        let address = function.address;
        let BusNumbers { secondary, subordinate } = buses;
        if secondary <= address.bus {
            return Err(Contradiction::Loop(address, buses));
        }
        if subordinate < secondary {
            return Err(Contradiction::Backwards(address, buses));
        }
        for bus in secondary..=subordinate {
            let there = map.get(bus);
            if there != above {
                let named = |node: u32| self.facts(node).map(|it| it.address);
                return Err(match (there.and_then(named), above.and_then(named)) {
                    (Some(other), _) if self.is_within(there, above) => {
                        Contradiction::Overlap(other, address, bus)
                    }
                    (_, Some(above)) => Contradiction::Outside(address, above),
                    _ => Contradiction::Loop(address, buses),
                });
            }
            if let Some(place) = map.0.get_mut(usize::from(bus)) {
                *place = node;
            }
        }
        Ok(())
    }

    /// True if `bridge` is `outer` or below it, or `outer` is the machine.
    fn is_within(&self, bridge: Option<u32>, outer: Option<u32>) -> bool {
        let Some(outer) = outer else { return true };
        let mut at = bridge;
        while let Some(here) = at.filter(|here| *here != outer) {
            at = self.above(here);
        }
        at == Some(outer)
    }

    /// Checks that virtual functions are below what is above their physical ones, and checks names.
    fn connect_virtual(&self) -> Result<(), Contradiction> {
        for node in 0..self.count() {
            let Some(function) = self.facts(node).copied() else { continue };
            let address = function.address;
            if let Some(sender) = function.requests_as
                && self.find(sender).is_none()
            {
                return Err(Contradiction::NoSender(address, sender));
            }
            if !function.is_virtual() {
                continue;
            }
            let physical = function.physical.and_then(|physical| self.find(physical));
            let real = |node: &u32| self.facts(*node).is_some_and(|it| !it.is_virtual());
            let physical = physical.filter(real).ok_or(Contradiction::NoPhysical(address))?;
            let of = self.facts(physical).map_or(address, |it| it.address);
            if self.above(node) != self.above(physical) || address.seg != of.seg {
                return Err(Contradiction::NotBeside(address, of));
            }
        }
        Ok(())
    }

    /// Finds out which functions are of one device: those of a slot; those of a bus, if one of them has ARI;
    /// and virtual functions with their physical ones.
    fn find_devices(&mut self) {
        let mut from = 0;
        while let Some(key) = self.facts(from).map(Function::bus_key) {
            let (first, end) = self.bus(key);
            let ari = (first..end).any(|node| {
                self.facts(node).is_some_and(|function| function.traits.contains(Traits::ARI))
            });
            let slot = |nodes: &Self, node| nodes.facts(node).map(|it| it.address.device());
            let mut device = first;
            for node in first..end {
                if !ari && slot(self, node) != slot(self, device) {
                    device = node;
                }
                if let Some(node) = self.at(node) {
                    node.device = device;
                }
            }
            from = end.max(from.saturating_add(1));
        }
        for node in 0..self.count() {
            let physical = self.facts(node).filter(|it| it.is_virtual()).and_then(|it| it.physical);
            let device = physical
                .and_then(|it| self.find(it))
                .and_then(|it| self.get(it))
                .map(|it| it.device);
            if let (Some(device), Some(node)) = (device, self.at(node)) {
                node.device = device;
            }
        }
    }
}
