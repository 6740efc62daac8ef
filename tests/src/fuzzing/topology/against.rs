//! The machine as a capture, where it can be one: for the fabric that sends requests.

use std::collections::BTreeSet;

use pviommu_hypervisor::topology::{Acs, AcsBits, Function, Kind as ItsKind, Traits};

use super::{input::FUNCTIONS, layout::Machine, snapshot::Snapshot};
use crate::pci::{
    Buses, Capture, Captured, Kind, Name,
    fabric::{Assumptions, Fabric},
};

/// Compares groups with what requests reach; false if the fabric cannot have such a machine.
pub(super) fn compare(machine: &Machine, snapshot: &Snapshot) -> bool {
    let Some(capture) = capture(machine, &snapshot.functions) else { return false };
    let fabric = Fabric::with(&capture, Assumptions::all() - Assumptions::VENDORS_DENIAL);
    let groups = snapshot.groups.iter().map(|group| {
        let name = |it: &u32| {
            let [devfn, bus, ..] = it.to_le_bytes();
            Name { bus, devfn }
        };
        group.iter().map(name).collect()
    });
    let groups: Vec<Vec<Name>> = groups.collect();
    assert_eq!(groups, fabric.groups(), "groups, and those by requests");
    true
}

/// What the fabric knows nothing of: firmware's tables, other segments, an operator's word, shared registers.
fn capture(machine: &Machine, functions: &[Function]) -> Option<Capture> {
    let told = machine.amd_ivrs || !machine.aliases.is_empty() || !machine.direct.is_empty();
    if told || functions.is_empty() || functions.len() > FUNCTIONS || share_registers(functions) {
        return None;
    }
    let mut capture = Capture::new("fuzzed".into(), 0);
    capture.functions = functions.iter().map(captured).collect::<Option<_>>()?;
    Some(capture)
}

fn share_registers(functions: &[Function]) -> bool {
    let mut pages = BTreeSet::new();
    let mut taken = functions.iter().flat_map(|function| {
        let own: BTreeSet<_> = function.regions.iter().map(|region| region >> 12).collect();
        own.into_iter().filter(|page| *page != 0)
    });
    !taken.all(|page| pages.insert(page))
}

fn captured(function: &Function) -> Option<Captured> {
    // A switch whose table nobody reads.
    const SWITCHTEC: u16 = 0x11f8;
    let identity = function.identity;
    let other = function.address.seg != 0
        || function.requests_as.is_some()
        || function.is_vouched_for()
        || function.rcba == u32::MAX
        || identity.vendor == SWITCHTEC;
    if other {
        return None;
    }
    let Function { address, .. } = *function;
    let mut captured = Captured::new(Name { bus: address.bus, devfn: address.devfn });
    (captured.vendor, captured.device) = (identity.vendor, identity.device);
    captured.class = identity.class;
    captured.subsystem = Some((identity.subsystem_vendor, identity.subsystem_device));
    captured.header = u8::from(function.buses.is_some());
    captured.kind = kind(function.kind);
    captured.buses = function.buses.map(|buses| Buses {
        primary: address.bus,
        secondary: buses.secondary,
        subordinate: buses.subordinate,
    });
    captured.acs_is_known = function.acs != Acs::Unknown;
    if let Acs::Present { capability, control, .. } = function.acs {
        // What is on without being there counts as on here only.
        if control.difference(capability).contains(AcsBits::EGRESS_CONTROL) {
            return None;
        }
        captured.acs = Some((capability.bits(), control.bits()));
    }
    captured.phantom = function.phantom_bits;
    captured.ari = function.traits.contains(Traits::ARI);
    captured.virtual_function = function.is_virtual();
    captured.physical = function.physical.map(|it| Name { bus: it.bus, devfn: it.devfn });
    captured.bytes.extend((0xf0..).zip(function.rcba.to_le_bytes()));
    Some(captured)
}

const fn kind(kind: ItsKind) -> Option<Kind> {
    Some(match kind {
        ItsKind::Unknown => return None,
        ItsKind::Conventional => Kind::Conventional,
        ItsKind::Endpoint => Kind::Endpoint,
        ItsKind::RootPort => Kind::RootPort,
        ItsKind::UpstreamPort => Kind::Upstream,
        ItsKind::DownstreamPort => Kind::Downstream,
        ItsKind::PcieToPciBridge => Kind::PcieToPci,
        ItsKind::PciToPcieBridge => Kind::PciToPcie,
        ItsKind::RootComplexEndpoint => Kind::RootComplexEndpoint,
        ItsKind::EventCollector => Kind::EventCollector,
    })
}
