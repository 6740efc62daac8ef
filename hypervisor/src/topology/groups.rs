//! Looking at groups.

use pviommu_abi::PciDevice;

use super::{
    Function, Node, Reason, Topology,
    node::{NONE, find},
};

/// A group of functions.
#[derive(Clone, Copy, Debug)]
pub struct Group<'t> {
    nodes: &'t [Node],
    first: &'t Node,
}

/// What tied the part of a group that `one` is in to the part that `other` is in.
#[derive(Clone, Copy, Debug)]
pub struct Tied<'t> {
    /// A function.
    pub one: &'t Function,
    /// Another one.
    pub other: &'t Function,
    /// Why they are together.
    pub reason: Reason,
    /// The function on account of which the switch is open that they are in, if it is that.
    pub witness: Option<&'t Function>,
}

impl Topology<'_> {
    pub(super) fn nodes(&self) -> &[Node] {
        self.nodes.get(..self.count).unwrap_or_default()
    }

    /// All functions, in the order of their numbers.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.nodes().iter().map(|node| &node.facts)
    }

    /// What is known of a function.
    #[must_use]
    pub fn function(&self, address: PciDevice) -> Option<&Function> {
        self.node(address).map(|node| &node.facts)
    }

    pub(super) fn node(&self, address: PciDevice) -> Option<&Node> {
        let nodes = self.nodes();
        at(nodes, find(nodes, address)?)
    }

    /// The bridge right above a function; of a virtual function, the one above its physical one.
    #[must_use]
    pub fn above(&self, address: PciDevice) -> Option<&Function> {
        at(self.nodes(), self.node(address)?.above).map(|node| &node.facts)
    }

    /// The bridges above a function, the nearest first, and of each whether the bus right below it is open: what
    /// comes from there need not reach the IOMMU.
    pub fn bridges_above(&self, address: PciDevice) -> impl Iterator<Item = (&Function, bool)> {
        let nodes = self.nodes();
        let first = self.node(address).and_then(|node| at(nodes, node.above));
        // Each is on a lower bus than the one before.
        core::iter::successors(first, move |node| at(nodes, node.above))
            .map(|node| (&node.facts, node.open_below().is_some()))
    }

    /// The groups, in the order of their first members.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let nodes = self.nodes();
        let firsts = nodes.iter().filter(|node| node.group.number == node.facts.address.sbdf());
        firsts.map(move |first| Group { nodes, first })
    }

    /// The group of a function.
    #[must_use]
    pub fn group_of(&self, address: PciDevice) -> Option<Group<'_>> {
        let nodes = self.nodes();
        let number = self.node(address)?.group.number;
        let first = at(nodes, find(nodes, PciDevice::from_sbdf(number))?)?;
        Some(Group { nodes, first })
    }

    /// The first of the functions that have to move together with this one, because requests of all
    /// can carry one id; a bridge that takes requests over is one of them.
    #[must_use]
    pub fn moves_with(&self, address: PciDevice) -> Option<PciDevice> {
        let nodes = self.nodes();
        let mut at_node = self.node(address)?;
        // The way leads to ever lower numbers.
        loop {
            let next = at(nodes, at_node.shares)?;
            if next.facts.address == at_node.facts.address {
                return Some(next.facts.address);
            }
            at_node = next;
        }
    }
}

impl<'t> Group<'t> {
    /// The number of the group: segment, bus and function of its first member.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.first.group.number
    }

    /// How many functions are in it.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.first.group.size
    }

    /// True if all that its members send goes through a unit. Bridges, and registers of the root complex, send
    /// nothing that matters.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        let quiet = |it: &Function| it.buses.is_some() || it.is_host_bridge();
        self.members().all(|member| member.unit.is_some() || quiet(member))
    }

    /// Its members, in the order of their numbers.
    pub fn members(&self) -> impl Iterator<Item = &'t Function> + use<'t> {
        self.member_nodes().map(|node| &node.facts)
    }

    pub(super) fn member_nodes(&self) -> impl Iterator<Item = &'t Node> + use<'t> {
        let nodes = self.nodes;
        core::iter::successors(Some(self.first), move |node| at(nodes, node.next))
    }

    /// What ties them: one less than there are members, and enough to get from each to each.
    pub fn ties(&self) -> impl Iterator<Item = Tied<'t>> + use<'t> {
        let nodes = self.nodes;
        self.member_nodes().filter_map(move |node| {
            let (one, other) = (at(nodes, node.tie.one)?, at(nodes, node.tie.other)?);
            let reason = node.tie.reason;
            let witness = at(nodes, other.witness).filter(|_| reason == Reason::OpenSwitch);
            let witness = witness.map(|witness| &witness.facts);
            Some(Tied { one: &one.facts, other: &other.facts, reason, witness })
        })
    }
}

pub(super) fn at(nodes: &[Node], node: u32) -> Option<&Node> {
    nodes.get(usize::try_from(node).ok()?).filter(|_| node != NONE)
}
