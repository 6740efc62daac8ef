//! The ids that requests arrive with at the root.

use std::collections::BTreeMap;

use super::alias_quirks;
use super::assumptions::Assumptions;
use super::control::Missing;
use super::set::Set;
use super::tree::{Role, Tree};
use super::vendors;
use crate::pci::{Capture, Captured, Kind, Name};

/// What the IOMMU tells senders apart by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Requester {
    /// A bus, device and function number, of a function or not.
    Function(Name),
    /// The controller in another segment that everything in this one is behind (Intel VMD).
    Controller,
}

/// Segments from here on exist in software only: what is there is behind a controller.
const FIRST_MADE_UP_SEGMENT: u32 = 0x1_0000;

/// The ids of each function, sorted.
pub(super) fn all(
    capture: &Capture,
    tree: &Tree,
    missing: &[Missing],
    assumptions: Assumptions,
) -> Vec<Vec<Requester>> {
    let functions = &capture.functions;
    if capture.segment >= FIRST_MADE_UP_SEGMENT {
        return vec![vec![Requester::Controller]; functions.len()];
    }
    let sent: Vec<_> = functions.iter().map(|f| sent_by(f, functions, assumptions)).collect();
    let arrive = |at: usize| {
        let mut ids = sent[at].clone();
        for port in tree.ports_above(at) {
            if vendors::is_translation_root(&functions[port]) {
                break;
            }
            if missing[port].lets_forge(assumptions) {
                ids.extend(forged_at(port, tree).flat_map(|other| sent[other].iter().copied()));
            }
            if let Some(id) = takes_over(port, functions, tree) {
                ids = vec![id];
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(Requester::Function).collect()
    };
    (0..functions.len()).map(arrive).collect()
}

/// For each id that several functions use, which.
pub(super) fn users(requesters: &[Vec<Requester>]) -> impl Iterator<Item = Set> {
    let mut users: BTreeMap<Requester, Vec<usize>> = BTreeMap::new();
    for (at, ids) in requesters.iter().enumerate() {
        ids.iter().for_each(|id| users.entry(*id).or_default().push(at));
    }
    let bound = requesters.len();
    users.into_values().filter(|users| users.len() > 1).map(move |users| {
        let mut set = Set::empty(bound);
        users.into_iter().for_each(|user| set.insert(user));
        set
    })
}

/// The ids that `function` puts into its requests.
fn sent_by(function: &Captured, all: &[Captured], assumptions: Assumptions) -> Vec<Name> {
    let mut ids = alias_quirks::of(function);
    ids.push(function.name);
    let collides = |id: &Name| all.iter().any(|other| other.name == *id);
    let phantoms = phantoms(function);
    if assumptions.contains(Assumptions::PHANTOM_COLLISION) {
        ids.extend(phantoms);
    } else {
        ids.extend(phantoms.filter(|id| !collides(id)));
    }
    ids
}

/// With n bits of the function number for phantoms, all numbers that have the other bits are the function's.
fn phantoms(function: &Captured) -> impl Iterator<Item = Name> {
    let name = function.name;
    let others = 8 >> function.phantom.min(3);
    let alike = move |number: &u8| number % others == name.function() % others;
    let numbers = (0..8).filter(alike).filter(move |number| *number != name.function());
    numbers.map(move |number| Name { bus: name.bus, devfn: name.devfn & !7 | number })
}

/// Whose ids requests may bear that come through `port`.
fn forged_at(port: usize, tree: &Tree) -> impl Iterator<Item = usize> {
    let scope = match (tree.roles[port], tree.above(port)) {
        (Role::Downstream, Some(upstream)) => Some(upstream),
        (Role::Downstream | Role::RootPort, _) => Some(port),
        _ => None,
    };
    scope.into_iter().flat_map(|scope| tree.below(scope).members())
}

/// The id that `bridge` gives to what it passes on, if it does not leave it as it is.
fn takes_over(bridge: usize, functions: &[Captured], tree: &Tree) -> Option<Name> {
    let function = &functions[bridge];
    if tree.roles[bridge] != Role::Conventional {
        return None;
    }
    let first_below = Name { bus: function.buses?.secondary, devfn: 0 };
    let express_above = tree.above(bridge).is_some_and(|above| {
        let kind = functions[above].kind;
        !matches!(kind, None | Some(Kind::Conventional | Kind::PcieToPci))
    });
    let hidden = matches!(function.kind, None | Some(Kind::Conventional))
        && express_above
        && alias_quirks::hides_that_it_is_express(function);
    let express = function.kind == Some(Kind::PcieToPci);
    Some(if express || hidden { first_below } else { function.name })
}
