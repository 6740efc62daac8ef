//! Changes while the machine runs: groups are computed first, and nothing has happened until they are kept.
//!
//! Whoever changes access control, or adds and removes functions, asks for a [`Plan`], looks at whose
//! groups would not be what they were, and keeps the plan or drops it.

use pviommu_abi::PciDevice;

use super::{
    Acs, AcsBits, Contradiction, Function, Node, RegisterChange, Topology,
    enable::{control_register, redirection},
    groups::at,
    node::{Marks, Membership, Nodes, find},
    tell_override,
};

/// What is to change.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Change<'c> {
    /// The access control of this function is set to this.
    Access {
        /// The function.
        function: PciDevice,
        /// What is on afterwards, of what its capability has.
        control: AcsBits,
    },
    /// Requests go from peer to peer below this port, or up to the IOMMU: for it, if it is a root port or a
    /// port of a switch away from the root, and for all such ports below it.
    PeerToPeer {
        /// The port: best the upstream port of a switch, or a root port.
        below: PciDevice,
        /// True: straight; false: redirected.
        allowed: bool,
    },
    /// These functions are there now.
    Add(&'c [Function]),
    /// These functions are not there any more, nor is anything below them.
    Remove(&'c [PciDevice]),
}

/// A change that has not happened yet. Dropped, it never does.
#[derive(Debug)]
pub struct Plan<'t, 'a> {
    topology: &'t mut Topology<'a>,
    /// Functions that are taken out; they stand behind those in use.
    removed: usize,
    mixed: Option<PciDevice>,
    kept: bool,
}

impl<'a> Topology<'a> {
    /// What the groups will be after `change`.
    ///
    /// # Errors
    /// [`Contradiction`]: it cannot be done, or the functions would be no machine afterwards.
    pub fn plan(&mut self, change: Change<'_>) -> Result<Plan<'_, 'a>, Contradiction> {
        for node in self.used().0 {
            node.before = node.group;
            node.marks = Marks::empty();
        }
        let mut plan = Plan { topology: self, removed: 0, mixed: None, kept: false };
        match change {
            Change::Access { function, control } => plan.set_access(function, control)?,
            Change::PeerToPeer { below, allowed } => plan.set_peer_to_peer(below, allowed)?,
            Change::Add(functions) => plan.add(functions)?,
            Change::Remove(functions) => plan.remove(functions)?,
        }
        plan.topology.form()?;
        plan.topology.used().compare();
        Ok(plan)
    }
}

impl Plan<'_, '_> {
    /// The machine as it will be.
    #[must_use]
    pub fn topology(&self) -> &Topology<'_> {
        self.topology
    }

    /// The functions whose groups will not have the members that they have, those that are added included.
    pub fn regrouped(&self) -> impl Iterator<Item = &Function> {
        let nodes = self.topology.nodes();
        let changed = |node: &&Node| {
            let first = find(nodes, PciDevice::from_sbdf(node.group.number));
            let first = first.and_then(|first| at(nodes, first));
            first.is_some_and(|first| first.marks.contains(Marks::CHANGED))
        };
        nodes.iter().filter(changed).map(|node| &node.facts)
    }

    /// The functions that will not be there any more.
    pub fn removed(&self) -> impl Iterator<Item = &Function> {
        let behind = self.topology.nodes.get(self.topology.count..).unwrap_or_default();
        behind.iter().take(self.removed).map(|node| &node.facts)
    }

    /// The functions whose access control is to be set, with what is on afterwards.
    pub fn altered(&self) -> impl Iterator<Item = &Function> {
        self.altered_nodes().map(|node| &node.facts)
    }

    /// The registers that are to be written for that, by function; `None` if it is not known where one is.
    ///
    /// Each says what is on and off afterwards, whatever is there: the last change may not have been written.
    pub fn writes(&self) -> impl Iterator<Item = (PciDevice, Option<RegisterChange>)> {
        self.altered_nodes().map(|node| {
            let set = node.control();
            let clear = (node.former | node.controls()).difference(set);
            (node.facts.address, control_register(&node.facts, clear, set))
        })
    }

    /// A function of which some access control is switched on and some off, if that is the change: neither the
    /// groups before nor those after hold while it is being made.
    #[must_use]
    pub fn mixed(&self) -> Option<PciDevice> {
        self.mixed
    }

    /// True if some function isolates less afterwards than before, by its access control.
    #[must_use]
    pub fn weakens(&self) -> bool {
        self.altered_nodes().any(|node| Node::loses(node.former, node.control()))
    }

    fn altered_nodes(&self) -> impl Iterator<Item = &Node> {
        self.topology.nodes().iter().filter(|node| node.marks.contains(Marks::ALTERED))
    }

    /// A function that is not free to change, because somebody has it and its group would change.
    pub fn in_the_way(&self, is_owned: impl Fn(PciDevice) -> bool) -> Option<PciDevice> {
        let mut touched = self.regrouped().chain(self.removed()).map(|function| function.address);
        touched.find(|function| is_owned(*function))
    }

    /// It has happened.
    pub fn keep(mut self) {
        self.kept = true;
    }

    fn set_access(&mut self, function: PciDevice, control: AcsBits) -> Result<(), Contradiction> {
        let mut nodes = self.topology.used();
        let node = nodes.find(function).ok_or(Contradiction::Unknown(function))?;
        let node = nodes.at(node).ok_or(Contradiction::Unknown(function))?;
        if !node.set_access(control) {
            return Err(Contradiction::NoControl(function));
        }
        let (before, after) = (node.former, node.control());
        if Node::loses(before, after) && Node::loses(after, before) {
            self.mixed = Some(function);
        }
        Ok(())
    }

    fn set_peer_to_peer(&mut self, below: PciDevice, allowed: bool) -> Result<(), Contradiction> {
        let mut nodes = self.topology.used();
        let top = nodes.find(below).ok_or(Contradiction::Unknown(below))?;
        let mut some = false;
        for node in top..nodes.count() {
            if !nodes.is_below(node, top) {
                continue;
            }
            let Some(port) = nodes.at(node).filter(|node| node.facts.kind.is_egress_port()) else {
                continue;
            };
            if let Some(control) = redirection(&port.facts, !allowed) {
                some |= port.set_access(control);
            }
        }
        if some { Ok(()) } else { Err(Contradiction::NoControl(below)) }
    }

    fn add(&mut self, functions: &[Function]) -> Result<(), Contradiction> {
        let room = self.topology.nodes.len();
        for function in functions {
            tell_override(function);
            let count = self.topology.count;
            let node = self.topology.nodes.get_mut(count).ok_or(Contradiction::TooMany(room))?;
            *node = Node::new(*function);
            node.marks = Marks::ADDED;
            self.topology.count = count.saturating_add(1);
        }
        self.topology.used().sort();
        Ok(())
    }

    fn remove(&mut self, functions: &[PciDevice]) -> Result<(), Contradiction> {
        let mut nodes = self.topology.used();
        for function in functions {
            let node = nodes.find(*function).ok_or(Contradiction::Unknown(*function))?;
            nodes.mark(node, Marks::GONE);
        }
        // Bridges come before what is below them, and physical functions before virtual ones.
        for node in 0..nodes.count() {
            let physical = nodes.facts(node).and_then(|function| function.physical);
            let physical = physical.and_then(|physical| nodes.find(physical));
            let mut of = nodes.above(node).into_iter().chain(physical);
            if of.any(|other| nodes.is(other, Marks::GONE)) {
                nodes.mark(node, Marks::GONE);
            }
        }
        let gone = |node: &Node| usize::from(node.marks.contains(Marks::GONE));
        let removed = nodes.0.iter().fold(0usize, |sum, node| sum.saturating_add(gone(node)));
        nodes.sort();
        self.topology.count = self.topology.count.saturating_sub(removed);
        self.removed = removed;
        Ok(())
    }

    /// Everything is as it was.
    fn undo(&mut self) {
        self.topology.count = self.topology.count.saturating_add(self.removed);
        let mut added = 0usize;
        for node in self.topology.used().0 {
            if node.marks.contains(Marks::ALTERED) {
                node.facts.acs = node.facts.acs.with_control(node.former);
            }
            let is_added = node.marks.contains(Marks::ADDED);
            added = added.saturating_add(usize::from(is_added));
            node.marks = if is_added { Marks::GONE } else { Marks::empty() };
        }
        self.topology.used().sort();
        self.topology.count = self.topology.count.saturating_sub(added);
        // What there was could be, and can be again.
        let _ = self.topology.form();
    }
}

impl Drop for Plan<'_, '_> {
    fn drop(&mut self) {
        if !self.kept {
            self.undo();
        }
    }
}

impl Node {
    /// Sets the access control; false if there is none. The former one is remembered.
    fn set_access(&mut self, to: AcsBits) -> bool {
        let Acs::Present { capability, control, .. } = self.facts.acs else { return false };
        self.former = control;
        self.facts.acs = self.facts.acs.with_control(to & capability);
        self.marks |= Marks::ALTERED;
        true
    }

    fn control(&self) -> AcsBits {
        match self.facts.acs {
            Acs::Present { control, .. } => control,
            Acs::Absent | Acs::Unknown => AcsBits::empty(),
        }
    }

    /// What can be switched: of its capability, the bits that are controls in the same place.
    fn controls(&self) -> AcsBits {
        match self.facts.acs {
            Acs::Present { capability, .. } => capability & AcsBits::CONTROLS,
            Acs::Absent | Acs::Unknown => AcsBits::empty(),
        }
    }

    /// True if something that isolates is on in `before` and not in `after`. Egress control isolates where it is
    /// off.
    fn loses(before: AcsBits, after: AcsBits) -> bool {
        let isolating = |control: AcsBits| {
            (control ^ AcsBits::EGRESS_CONTROL) & (AcsBits::ISOLATION | AcsBits::EGRESS_CONTROL)
        };
        !isolating(before).difference(isolating(after)).is_empty()
    }
}

impl Nodes<'_> {
    /// True for `top` and all that is below it.
    fn is_below(&self, node: u32, top: u32) -> bool {
        let mut at = Some(node);
        while let Some(here) = at.filter(|here| *here != top) {
            at = self.above(here);
        }
        at == Some(top)
    }

    /// Marks the first function of each group that does not have the members which it had.
    fn compare(&mut self) {
        for node in 0..self.count() {
            let first = self.first(node);
            let (Some(head), Some(member)) = (self.get(first), self.get(node)) else { continue };
            // As many as before, and all of one group then: they are the same.
            let same = member.before == head.before && member.before.size == head.group.size;
            if !same || member.before == Membership::NONE {
                self.mark(first, Marks::CHANGED);
            }
        }
    }
}
