//! A function and its place among the others: what the embedder lends for each.

use pviommu_abi::PciDevice;

use super::{AcsBits, Function, REGIONS, Reason};
use crate::sort::sort_by_key;

/// No function.
pub(super) const NONE: u32 = u32::MAX;

/// Room for one function; lent, and of no use outside a [`Topology`](super::Topology).
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) facts: Function,
    /// The bridge right above.
    pub(super) above: u32,
    /// The first function of its device.
    pub(super) device: u32,
    /// Of a bridge: the function for which the bus below it is open.
    pub(super) witness: u32,
    pub(super) marks: Marks,
    /// The access control before the change under way.
    pub(super) former: AcsBits,
    /// Its group, and why it is in it.
    pub(super) tie: Tie,
    /// A function with which it shares ids, closer to the first of them.
    pub(super) shares: u32,
    /// The next function of its group.
    pub(super) next: u32,
    /// Of the first function of a group: the last.
    pub(super) tail: u32,
    pub(super) group: Membership,
    /// The group before a change.
    pub(super) before: Membership,
    /// Head of a list of regions, and for each of its regions the next in its list.
    pub(super) head: u32,
    pub(super) chain: [u32; REGIONS],
}

/// Functions are handled in at most this many bytes each.
const _: () = assert!(size_of::<Node>() <= 256);

bitflags::bitflags! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(super) struct Marks: u8 {
        /// It may reach the other functions of its device, or be reached through it.
        const OPEN = 1 << 0;
        /// It is tied to a function that is not below it, and so is all that is.
        const TIED = 1 << 1;
        /// It has a group already.
        const PLACED = 1 << 2;
        /// It is to be taken out, or not there yet.
        const GONE = 1 << 3;
        /// Its group is not what it was.
        const CHANGED = 1 << 4;
        /// It was put in by the change under way.
        const ADDED = 1 << 5;
        /// Its requests carry the id of a bridge above.
        const MASKED = 1 << 6;
        /// The change under way set its access control.
        const ALTERED = 1 << 7;
    }
}

/// Why a function is with those before it: the way to the first of its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tie {
    /// A function of its group closer to the first one, or itself.
    pub(super) parent: u32,
    /// What tied its part of the group to the rest: these two functions, for this reason.
    pub(super) one: u32,
    pub(super) other: u32,
    pub(super) reason: Reason,
}

/// A group, as its members know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Membership {
    /// Its number: segment, bus and function of its first member.
    pub(super) number: u32,
    /// How many are in it; 0: none yet.
    pub(super) size: u32,
}

impl Membership {
    pub(super) const NONE: Self = Self { number: NONE, size: 0 };
}

impl Node {
    /// Room for `function`.
    #[must_use]
    pub const fn new(function: Function) -> Self {
        Self {
            facts: function,
            above: NONE,
            device: NONE,
            witness: NONE,
            marks: Marks::empty(),
            former: AcsBits::empty(),
            tie: Tie { parent: NONE, one: NONE, other: NONE, reason: Reason::SameDevice },
            shares: NONE,
            next: NONE,
            tail: NONE,
            group: Membership::NONE,
            before: Membership::NONE,
            head: NONE,
            chain: [NONE; REGIONS],
        }
    }

    /// Room for a function that comes later.
    #[must_use]
    pub const fn vacant() -> Self {
        Self::new(Function::new(PciDevice { seg: 0, bus: 0, devfn: 0 }))
    }
}

/// Nodes, by number.
pub(super) struct Nodes<'n>(pub(super) &'n mut [Node]);

impl Nodes<'_> {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(NONE)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Node)> {
        (0..NONE).zip(self.0.iter())
    }

    pub(super) fn get(&self, node: u32) -> Option<&Node> {
        self.0.get(usize::try_from(node).ok()?)
    }

    pub(super) fn at(&mut self, node: u32) -> Option<&mut Node> {
        self.0.get_mut(usize::try_from(node).ok()?)
    }

    pub(super) fn facts(&self, node: u32) -> Option<&Function> {
        self.get(node).map(|node| &node.facts)
    }

    pub(super) fn mark(&mut self, node: u32, marks: Marks) {
        if let Some(node) = self.at(node) {
            node.marks |= marks;
        }
    }

    pub(super) fn is(&self, node: u32, marks: Marks) -> bool {
        self.get(node).is_some_and(|node| node.marks.contains(marks))
    }

    /// The bridge right above a function.
    pub(super) fn above(&self, node: u32) -> Option<u32> {
        self.get(node).map(|node| node.above).filter(|above| *above != NONE)
    }

    pub(super) fn find(&self, function: PciDevice) -> Option<u32> {
        find(self.0, function)
    }

    /// The functions of a bus, from one number on up to another.
    pub(super) fn bus(&self, key: u32) -> (u32, u32) {
        let up_to = |key| self.0.partition_point(|node| node.facts.bus_key() < key);
        let number = |at: usize| u32::try_from(at).unwrap_or(NONE);
        (number(up_to(key)), number(up_to(key.saturating_add(1))))
    }

    /// Puts the nodes into the order of their numbers, those that are gone last.
    pub(super) fn sort(&mut self) {
        sort_by_key(self.0, |node| (node.marks.contains(Marks::GONE), node.facts.address.sbdf()));
    }
}

/// The number of `function` among nodes in order.
pub(super) fn find(nodes: &[Node], function: PciDevice) -> Option<u32> {
    let key = function.sbdf();
    let at = nodes.partition_point(|node| node.facts.address.sbdf() < key);
    let found = nodes.get(at).is_some_and(|node| node.facts.address.sbdf() == key);
    u32::try_from(at).ok().filter(|_| found)
}
