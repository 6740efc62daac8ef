//! Who is below whom, and which functions are one device.

use std::collections::BTreeMap;

use super::assumptions::Assumptions;
use super::config;
use super::set::Set;
use super::vendors;
use crate::pci::{Capture, Captured, Kind};

/// What a function is to requests that pass it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Nothing is behind it.
    End,
    /// A root port.
    RootPort,
    /// The port of a switch towards the root.
    Upstream,
    /// A port of a switch away from the root.
    Downstream,
    /// Any bridge with conventional PCI above or below, and any whose kind is not known.
    Conventional,
}

impl Role {
    pub(super) fn of(function: &Captured) -> Self {
        match function.kind {
            Some(Kind::RootPort) => Self::RootPort,
            Some(Kind::Upstream) => Self::Upstream,
            Some(Kind::Downstream) => Self::Downstream,
            Some(Kind::PcieToPci | Kind::PciToPcie) => Self::Conventional,
            _ if function.header == 1 || function.buses.is_some() => Self::Conventional,
            _ => Self::End,
        }
    }
}

/// The tree of functions.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) roles: Vec<Role>,
    /// The bridge that requests of each function come to; none on a root bus.
    above: Vec<Option<usize>>,
    /// Everything below a bridge, to any depth.
    below: Vec<Set>,
    /// The other functions of the device, if it is one.
    siblings: Vec<Vec<usize>>,
}

impl Tree {
    pub(super) fn of(capture: &Capture, assumptions: Assumptions) -> Self {
        let functions = &capture.functions;
        let wired: Vec<_> = functions.iter().map(|f| bridge_above(capture, f)).collect();
        let passes = |bridge: &usize| {
            assumptions.contains(Assumptions::TRANSLATION_ROOT_IS_A_BRIDGE)
                || !vendors::is_translation_root(&functions[*bridge])
        };
        let above: Vec<_> = wired.iter().map(|bridge| bridge.filter(passes)).collect();
        let mut below = vec![Set::empty(functions.len()); functions.len()];
        for at in 0..functions.len() {
            let mut up = above[at];
            while let Some(bridge) = up {
                below[bridge].insert(at);
                up = above[bridge];
            }
        }
        let siblings = siblings(capture, &wired);
        let roles = functions.iter().map(Role::of).collect();
        Self { roles, above, below, siblings }
    }

    pub(super) fn above(&self, at: usize) -> Option<usize> {
        self.above[at]
    }

    /// The bridges above that requests pass, the nearest first.
    pub(super) fn ports_above(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.above[at], |bridge| self.above[*bridge])
    }

    pub(super) fn below(&self, bridge: usize) -> &Set {
        &self.below[bridge]
    }

    pub(super) fn siblings(&self, at: usize) -> &[usize] {
        &self.siblings[at]
    }

    pub(super) fn is_bridge(&self, at: usize) -> bool {
        self.roles[at] != Role::End
    }
}

/// The bridge whose secondary bus `function` is on. A bus that no bridge names as its secondary, as
/// one of virtual functions, belongs to the innermost bridge that forwards it.
fn bridge_above(capture: &Capture, function: &Captured) -> Option<usize> {
    let bus = function.name.bus;
    let wired = |f: &Captured| f.name.bus == bus && !f.virtual_function;
    if capture.root_buses.contains(&bus) && capture.functions.iter().any(wired) {
        return None;
    }
    let mut nearest = None;
    for (at, bridge) in capture.functions.iter().enumerate() {
        let Some(buses) = bridge.buses else { continue };
        // Numbers rise downwards; what does not is not configured, and would make loops.
        let leads_here = bridge.name.bus < buses.secondary
            && buses.secondary <= bus
            && (bus <= buses.subordinate || bus == buses.secondary);
        if leads_here && nearest.is_none_or(|(secondary, _)| secondary < buses.secondary) {
            nearest = Some((buses.secondary, at));
        }
    }
    nearest.map(|(_, at)| at)
}

/// A device: the bridge it is below, its bus, and its slot unless it is an ARI device.
type Device = (Option<usize>, u8, Option<u8>);

fn siblings(capture: &Capture, above: &[Option<usize>]) -> Vec<Vec<usize>> {
    let functions = &capture.functions;
    let mut with_ari = [false; 256];
    functions.iter().filter(|f| f.ari).for_each(|f| with_ari[usize::from(f.name.bus)] = true);
    let place = |at: usize| -> Device {
        let name = functions[at].name;
        let slot = (!with_ari[usize::from(name.bus)]).then_some(name.slot());
        (above[at], name.bus, slot)
    };
    let device = |at: usize| {
        let owner = functions[at].virtual_function.then(|| physical(capture, above, at));
        place(owner.flatten().unwrap_or(at))
    };
    let mut devices: BTreeMap<Device, Vec<usize>> = BTreeMap::new();
    (0..functions.len()).for_each(|at| devices.entry(device(at)).or_default().push(at));
    let mut siblings = vec![Vec::new(); functions.len()];
    for members in devices.values() {
        for at in members {
            siblings[*at] = members.iter().copied().filter(|other| other != at).collect();
        }
    }
    siblings
}

/// The physical function of the virtual one at `at`: as the capture says; else below the same bridge, the nearest with a lower
/// number that shows an SR-IOV capability, else the nearest of any kind.
fn physical(capture: &Capture, above: &[Option<usize>], at: usize) -> Option<usize> {
    let functions = &capture.functions;
    if let Some(named) = functions[at].physical {
        return functions.iter().position(|function| function.name == named);
    }
    let candidates = || {
        (0..functions.len()).filter(|other| {
            !functions[*other].virtual_function
                && above[*other] == above[at]
                && functions[*other].name < functions[at].name
        })
    };
    let name = |other: &usize| functions[*other].name;
    let able = candidates().filter(|other| config::has_sr_iov(&functions[*other]));
    able.max_by_key(name).or_else(|| candidates().max_by_key(name))
}
