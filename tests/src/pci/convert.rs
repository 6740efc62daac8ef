//! A capture as the service's topology takes it.
//!
//! What the source does not show becomes what is not known, or the worst it can be, so that groups
//! come out too large rather than too small.

use std::collections::{BTreeMap, BTreeSet};

use pviommu_abi::PciDevice;
use pviommu_hypervisor::platform::UnitId;
use pviommu_hypervisor::topology::{
    Acs, AcsBits, BusNumbers, Contradiction, Firmware, Function, Identity, Kind as ItsKind, Mode,
    Node, Topology, Traits, Window,
};

use super::capture::{Capture, Captured, Kind, Name};

/// Class and subclass of an IOMMU.
const IOMMU: u32 = 0x0806;
/// AMD.
const AMD: u16 = 0x1022;
/// Where an LPC bridge has the address of its chipset's registers.
const RCBA: u16 = 0xf0;

/// The topology of a capture, with the memory it lives in.
#[derive(Debug)]
pub struct Machine {
    nodes: Vec<Node>,
    firmware: Firmware<'static>,
}

impl Machine {
    /// What is in `capture`, all of it behind one unit but for IOMMUs themselves and, if the capture
    /// has groups, functions without one.
    #[must_use]
    pub fn new(capture: &Capture) -> Self {
        let nodes = functions(capture).into_iter().map(Node::new).collect();
        let amd_ivrs = capture.functions.iter().any(|f| f.vendor == AMD && f.class >> 8 == IOMMU);
        Self { nodes, firmware: Firmware { amd_ivrs, ..Firmware::default() } }
    }

    /// Its groups.
    ///
    /// # Errors
    /// [`Contradiction`] if there can be no such machine.
    pub fn topology(&mut self, mode: Mode) -> Result<Topology<'_>, Contradiction> {
        let count = self.nodes.len();
        Topology::build(&mut self.nodes, count, self.firmware, mode)
    }
}

/// The number that a function of `capture` has for the service. A segment of more than 16 bits gets
/// the last one: no machine has so many of its own.
#[must_use]
pub fn address(capture: &Capture, name: Name) -> PciDevice {
    let seg = u16::try_from(capture.segment).unwrap_or(u16::MAX);
    PciDevice { seg, bus: name.bus, devfn: name.devfn }
}

/// The facts of all functions of `capture`, in its order.
#[must_use]
pub fn functions(capture: &Capture) -> Vec<Function> {
    let grouped: BTreeSet<Name> = capture.linux_groups.iter().flatten().copied().collect();
    let around = Around::new(capture);
    let convert = |captured: &Captured| {
        let mut function = around.function(captured);
        let is_behind = grouped.is_empty() || grouped.contains(&captured.name);
        function.unit = (is_behind && captured.class >> 8 != IOMMU).then_some(UnitId(0));
        function
    };
    capture.functions.iter().map(convert).collect()
}

/// What a function has to be seen among.
struct Around<'c> {
    capture: &'c Capture,
    /// How many functions a slot has.
    slots: BTreeMap<(u8, u8), usize>,
    /// Functions that are not virtual, with their makers.
    physical: BTreeMap<Name, u16>,
    /// For each bus the bus right below the innermost bridge that leads there.
    nearest: [Option<u8>; 256],
    /// The function in whose name everything is sent.
    sender: Option<Name>,
}

impl<'c> Around<'c> {
    fn new(capture: &'c Capture) -> Self {
        let mut around = Self {
            capture,
            slots: BTreeMap::new(),
            physical: BTreeMap::new(),
            nearest: [None; 256],
            sender: None,
        };
        // Such numbers are Linux's own, for what is below a VMD, which sends everything for them.
        if capture.segment > u32::from(u16::MAX) {
            around.sender = capture.functions.iter().map(|function| function.name).min();
        }
        let mut bridges: Vec<_> = capture.functions.iter().filter_map(|it| it.buses).collect();
        // An inner bridge leads to higher buses than the one around it.
        bridges.sort_by_key(|buses| buses.secondary);
        for buses in bridges.iter().filter(|buses| buses.secondary != 0) {
            for bus in buses.secondary..=buses.subordinate {
                around.nearest[usize::from(bus)] = Some(buses.secondary);
            }
        }
        for function in &capture.functions {
            if around.is_virtual(function) {
                continue;
            }
            let name = function.name;
            *around.slots.entry((name.bus, name.slot())).or_default() += 1;
            around.physical.insert(name, function.vendor);
        }
        around
    }

    /// True for a virtual function, by what is said of it or by where it is: on a bus that a bridge
    /// passes on to and that no bridge leads right to, nothing else can be.
    fn is_virtual(&self, captured: &Captured) -> bool {
        let nearest = self.nearest[usize::from(captured.name.bus)];
        captured.virtual_function || nearest.is_some_and(|bus| bus != captured.name.bus)
    }

    /// The physical function of a virtual one that does not show it: the last one before it on the bus
    /// that leads there, of the same maker if there is one.
    fn physical_of(&self, captured: &Captured) -> Option<Name> {
        let bus = self.nearest[usize::from(captured.name.bus)].unwrap_or(captured.name.bus);
        let first = Name { bus, devfn: 0 };
        let before =
            || self.physical.range(first..captured.name).rev().filter(|it| it.0.bus == bus);
        let alike = before().find(|(_, vendor)| **vendor == captured.vendor);
        alike.or_else(|| before().next()).map(|(name, _)| *name)
    }
}

impl Around<'_> {
    fn function(&self, captured: &Captured) -> Function {
        let mut function = Function::new(address(self.capture, captured.name));
        function.kind = kind(captured.kind);
        function.phantom_bits = captured.phantom;
        function.traits = self.traits(captured);
        function.buses = captured
            .buses
            .map(|buses| BusNumbers { secondary: buses.secondary, subordinate: buses.subordinate });
        function.acs = match captured.acs {
            Some((capability, control)) => Acs::Present {
                capability: AcsBits::from_bits_retain(capability),
                control: AcsBits::from_bits_retain(control),
                at: 0,
            },
            None if captured.acs_is_known => Acs::Absent,
            None => Acs::Unknown,
        };
        let (subsystem_vendor, subsystem_device) = captured.subsystem.unwrap_or_default();
        function.identity = Identity {
            vendor: captured.vendor,
            device: captured.device,
            subsystem_vendor,
            subsystem_device,
            class: captured.class,
        };
        if self.is_virtual(captured) {
            let physical = captured.physical.or_else(|| self.physical_of(captured));
            function.physical = physical.map(|name| address(self.capture, name));
        }
        function.requests_as = self.sender.map(|name| address(self.capture, name));
        for (to, (first, _)) in function.regions.iter_mut().zip(&captured.regions) {
            *to = *first;
        }
        for (to, (first, last)) in function.windows.iter_mut().zip(&captured.windows) {
            *to = Some(Window { first: *first, last: *last });
        }
        let byte = |at| captured.byte(RCBA + at).unwrap_or_default();
        function.rcba = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
        function
    }

    fn traits(&self, captured: &Captured) -> Traits {
        let mut traits = Traits::empty();
        let name = captured.name;
        // The others of a slot were found, so its first function says that there are others.
        let has_siblings = self.slots.get(&(name.bus, name.slot())).is_some_and(|count| *count > 1);
        let is_one_of_several = captured.multifunction.unwrap_or(has_siblings);
        traits.set(Traits::MULTIFUNCTION, is_one_of_several);
        // Who does not show whether it has ACS does not show whether it has ARI.
        let may_have_ari = matches!(captured.kind, Some(Kind::Endpoint | Kind::LegacyEndpoint))
            && !captured.acs_is_known;
        traits.set(Traits::ARI, captured.ari || may_have_ari);
        traits.set(Traits::VIRTUAL, self.is_virtual(captured));
        traits.set(Traits::VOUCHED, captured.vouched_for);
        traits
    }
}

const fn kind(kind: Option<Kind>) -> ItsKind {
    match kind {
        None => ItsKind::Unknown,
        Some(Kind::Conventional) => ItsKind::Conventional,
        Some(Kind::Endpoint | Kind::LegacyEndpoint) => ItsKind::Endpoint,
        Some(Kind::RootPort) => ItsKind::RootPort,
        Some(Kind::Upstream) => ItsKind::UpstreamPort,
        Some(Kind::Downstream) => ItsKind::DownstreamPort,
        Some(Kind::PcieToPci) => ItsKind::PcieToPciBridge,
        Some(Kind::PciToPcie) => ItsKind::PciToPcieBridge,
        Some(Kind::RootComplexEndpoint) => ItsKind::RootComplexEndpoint,
        Some(Kind::EventCollector) => ItsKind::EventCollector,
    }
}
