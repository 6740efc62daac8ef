//! Sets of functions that grow together, each with the reason for every step.
//!
//! The first function of a set stands for it. When two sets become one, the first function of the
//! later one keeps what tied them: so the ties of a group are a tree, and tell why any two of its
//! members are together.

use super::{
    Reason,
    node::{Marks, Membership, NONE, Nodes, Tie},
};

impl Nodes<'_> {
    /// Every function by itself.
    pub(super) fn part(&mut self) {
        for (number, node) in (0..NONE).zip(self.0.iter_mut()) {
            node.tie = Tie { parent: number, one: NONE, other: NONE, reason: Reason::SameDevice };
            node.shares = number;
            node.next = NONE;
            node.tail = number;
            node.group = Membership { number: node.facts.address.sbdf(), size: 0 };
        }
    }

    /// The first function of the group of `node`.
    pub(super) fn first(&mut self, node: u32) -> u32 {
        self.climb(node, |node| &mut node.tie.parent)
    }

    /// The first function of those with which `node` shares ids.
    pub(super) fn first_sharing(&mut self, node: u32) -> u32 {
        self.climb(node, |node| &mut node.shares)
    }

    /// Follows `parent` to its end, and makes the way shorter for the next time.
    fn climb(&mut self, from: u32, parent: impl Fn(&mut super::Node) -> &mut u32) -> u32 {
        let mut at = from;
        // A way has no more steps than there are functions.
        for _ in 0..self.0.len() {
            let Some(up) = self.at(at).map(|node| *parent(node)) else { return at };
            if up == at {
                return at;
            }
            let Some(further) = self.at(up).map(|node| *parent(node)) else { return at };
            if let Some(node) = self.at(at) {
                *parent(node) = further;
            }
            at = further;
        }
        at
    }

    /// Puts the groups of two functions together.
    pub(super) fn tie(&mut self, one: u32, other: u32, reason: Reason) {
        let (a, b) = (self.first(one), self.first(other));
        let (parent, later) = (a.min(b), a.max(b));
        if parent != later
            && let Some(node) = self.at(later)
        {
            node.tie = Tie { parent, one, other, reason };
        }
    }

    /// The same for two functions whose requests can carry one id.
    pub(super) fn share(&mut self, one: u32, other: u32) {
        let (a, b) = (self.first_sharing(one), self.first_sharing(other));
        let (parent, later) = (a.min(b), a.max(b));
        if let Some(node) = self.at(later) {
            node.shares = parent;
        }
    }

    /// A tie between functions of which none is below the other: what is below either of them is with
    /// them, too.
    pub(super) fn tie_beside(&mut self, one: u32, other: u32, reason: Reason) {
        if one != other {
            self.tie(one, other, reason);
            self.mark(one, Marks::TIED);
            self.mark(other, Marks::TIED);
        }
    }

    /// Lists the members of each group, and tells each its group.
    pub(super) fn list(&mut self) {
        for number in 0..self.count() {
            let first = self.first(number);
            let Some(head) = self.at(first) else { continue };
            head.group.size = head.group.size.saturating_add(1);
            let tail = core::mem::replace(&mut head.tail, number);
            if number != first
                && let Some(last) = self.at(tail)
            {
                last.next = number;
            }
        }
        for number in 0..self.count() {
            let first = self.first(number);
            let group = self.get(first).map(|head| head.group);
            if let (Some(node), Some(group)) = (self.at(number), group) {
                node.group = group;
            }
        }
    }
}
