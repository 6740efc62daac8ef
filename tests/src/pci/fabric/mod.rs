//! A simulator of a PCI fabric: who can deliver a memory request to whom without the IOMMU seeing
//! it, and whose requests the IOMMU cannot tell apart.
//!
//! It is the truth that isolation groups are measured by. Every function sends requests, and has
//! registers at an address of its own to which they are sent. A request goes hop by hop:
//!
//! ```text
//!                      the root complex: what arrives here is translated, by its requester id
//!     ──────┬───────────────────────┬─────────────────────────────┬─────────────── root bus
//!       root port  ▲ │ may send   root port ◄─── functions of ──► root port
//!           │      │ ▼ it back              one device, if the
//!           │      up                       sender does not redirect
//!     upstream port
//!     ──────┬────────────────┬──────────────── internal bus of a switch
//!    downstream port    downstream port
//!      ▲    │             ▲  │   ▲             up, always, unless this port (as egress control of
//!      │    │             └──┼───┘             what comes in from below) routes it directly: to
//!      A    │    A ─► port ──┘                 the internal bus and behind any port of it, or
//!           │                                  back to where it came from
//!  PCIe-to-PCI bridge          takes requests over: they go on as "secondary:00.0"
//!     ──────┬──────┬──── conventional bus      all on it and below it reach each other
//! ```
//!
//! Downwards nothing is checked: bridges pass on whatever lies in their windows. Two functions
//! *conflict* if one reaches the other or both may bear one requester id, and groups are the
//! connected components of that. What the specification leaves open is decided by [`Assumptions`].
//!
//! Left out: multicast, translated requests (ATS) and devices that do not obey their own controls.
//! Rules are those of the PCI Express Base Specification 6.0, 6.12 (Access Control Services), 6.13
//! (ARI), 2.2.6.2 (phantom functions) and of the PCIe to PCI/PCI-X Bridge Specification 1.0, 2.3.

mod alias_quirks;
mod assumptions;
mod config;
mod control;
mod requester;
mod router;
mod set;
mod tree;
mod vendors;

pub use assumptions::Assumptions;
pub use requester::Requester;

use super::{Capture, Name};
use control::Missing;
use set::Set;
use tree::Tree;

/// Why two functions cannot belong to different guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// A request of the first is delivered to the second, or one of the second to the first.
    Reached {
        /// Who sends it.
        from: Name,
        /// Who gets it.
        to: Name,
    },
    /// Requests of both may arrive with this id.
    SameRequester(Requester),
    /// One is behind this bridge, with which the other shares a requester id.
    BehindBridge(Name),
}

/// A machine's functions, and what reaches what.
#[derive(Clone, Debug)]
pub struct Fabric {
    names: Vec<Name>,
    tree: Tree,
    requesters: Vec<Vec<Requester>>,
    reached: Vec<Set>,
    conflicts: Vec<Set>,
    assumptions: Assumptions,
}

impl Fabric {
    /// Lets every function of `capture` send to all others, as a cautious operator assumes.
    #[must_use]
    pub fn new(capture: &Capture) -> Self {
        Self::with(capture, Assumptions::default())
    }

    /// As [`new`](Self::new), under `assumptions`.
    #[must_use]
    pub fn with(capture: &Capture, assumptions: Assumptions) -> Self {
        let tree = Tree::of(capture, assumptions);
        let missing: Vec<Missing> =
            capture.functions.iter().map(|f| Missing::of(f, capture, assumptions)).collect();
        let requesters = requester::all(capture, &tree, &missing, assumptions);
        let reached = router::all(capture, &tree, &missing, assumptions);
        let names = capture.functions.iter().map(|f| f.name).collect();
        let mut fabric =
            Self { names, tree, requesters, reached, conflicts: Vec::new(), assumptions };
        fabric.conflicts = fabric.find_conflicts();
        fabric
    }

    /// A request of `from` to an address of `to` is delivered without translation. False for names
    /// that the capture does not have, and for a function and itself.
    #[must_use]
    pub fn reaches(&self, from: Name, to: Name) -> bool {
        self.pairs(from, to).any(|(from, to)| self.reached[from].has(to))
    }

    /// The ids that requests of `name` may arrive with, sorted; its own among them, unless a bridge
    /// takes them over. Empty for a name that the capture does not have.
    #[must_use]
    pub fn requesters(&self, name: Name) -> &[Requester] {
        let at = self.names.iter().position(|other| *other == name);
        at.map_or(&[], |at| &self.requesters[at])
    }

    /// Why two functions may not belong to different guests; `None` if they may, as far as the two
    /// alone are concerned.
    #[must_use]
    pub fn conflict(&self, one: Name, other: Name) -> Option<Conflict> {
        self.pairs(one, other).find_map(|(a, b)| self.why(a, b))
    }

    /// The connected components of conflicts, each sorted, sorted by their first members.
    #[must_use]
    pub fn groups(&self) -> Vec<Vec<Name>> {
        let mut left = Set::all(self.names.len());
        let mut groups = Vec::new();
        while let Some(first) = left.first() {
            let mut members = Vec::new();
            let mut pending = vec![first];
            left.remove(first);
            while let Some(at) = pending.pop() {
                members.push(self.names[at]);
                for next in self.conflicts[at].members().filter(|next| left.has(*next)) {
                    pending.push(next);
                }
                left.subtract(&self.conflicts[at]);
            }
            members.sort_unstable();
            groups.push(members);
        }
        groups.sort_unstable();
        groups
    }

    fn pairs(&self, one: Name, other: Name) -> impl Iterator<Item = (usize, usize)> {
        let places = |name| {
            let named = self.names.iter().enumerate().filter(move |(_, other)| **other == name);
            named.map(|(at, _)| at)
        };
        places(one).flat_map(move |a| places(other).map(move |b| (a, b))).filter(|(a, b)| a != b)
    }

    fn why(&self, a: usize, b: usize) -> Option<Conflict> {
        if !self.conflicts[a].has(b) {
            return None;
        }
        let reached = |from: usize, to: usize| {
            let (from_name, to_name) = (self.names[from], self.names[to]);
            self.reached[from].has(to).then_some(Conflict::Reached { from: from_name, to: to_name })
        };
        let same = || self.same_requester(a, b).map(Conflict::SameRequester);
        let behind = |of: usize, with: usize| {
            let mut above = self.tree.ports_above(of);
            let bridge = above.find(|bridge| self.same_requester(*bridge, with).is_some())?;
            Some(Conflict::BehindBridge(self.names[bridge]))
        };
        reached(a, b)
            .or_else(|| reached(b, a))
            .or_else(same)
            .or_else(|| behind(a, b))
            .or_else(|| behind(b, a))
    }

    fn same_requester(&self, a: usize, b: usize) -> Option<Requester> {
        self.requesters[a].iter().find(|id| self.requesters[b].contains(id)).copied()
    }

    fn find_conflicts(&self) -> Vec<Set> {
        let mut conflicts = self.reached.clone();
        for (from, reached) in self.reached.iter().enumerate() {
            reached.members().for_each(|to| conflicts[to].insert(from));
        }
        for users in requester::users(&self.requesters) {
            for user in users.members() {
                conflicts[user].add(&users);
                if self.assumptions.contains(Assumptions::INHERITED) {
                    self.tie_to_what_is_behind(user, &users, &mut conflicts);
                }
            }
        }
        for (at, row) in conflicts.iter_mut().enumerate() {
            row.remove(at);
        }
        conflicts
    }

    /// Whoever is taken for a bridge is taken to have what is behind it.
    fn tie_to_what_is_behind(&self, bridge: usize, users: &Set, conflicts: &mut [Set]) {
        let behind = self.tree.below(bridge);
        let mut others = users.clone();
        others.remove(bridge);
        if behind.is_empty() || others.is_empty() {
            return;
        }
        others.members().for_each(|other| conflicts[other].add(behind));
        behind.members().for_each(|below| conflicts[below].add(&others));
    }
}
