//! Requests, hop by hop.

use super::alias_quirks;
use super::assumptions::Assumptions;
use super::control::Missing;
use super::set::Set;
use super::tree::{Role, Tree};
use crate::pci::{Capture, Captured, Kind};

/// For each function, which others its requests are delivered to.
pub(super) fn all(
    capture: &Capture,
    tree: &Tree,
    missing: &[Missing],
    assumptions: Assumptions,
) -> Vec<Set> {
    let router = Router { functions: &capture.functions, tree, missing, assumptions };
    (0..capture.functions.len()).map(|at| router.send(at)).collect()
}

struct Router<'a> {
    functions: &'a [Captured],
    tree: &'a Tree,
    missing: &'a [Missing],
    assumptions: Assumptions,
}

/// A request on its way up, about to leave a function.
#[derive(Clone, Copy)]
struct Hop {
    /// The function.
    at: usize,
    /// It made the request; else it passes it on.
    own: bool,
}

impl Router<'_> {
    /// Where requests of `sender` are delivered to. It may choose any address, so all branches are
    /// taken.
    fn send(&self, sender: usize) -> Set {
        let mut reached = Set::empty(self.functions.len());
        let mut hop = Hop { at: sender, own: true };
        loop {
            self.inside_the_device(hop, &mut reached);
            // On a root bus it goes to the root complex, and is translated.
            let Some(port) = self.tree.above(hop.at) else { break };
            self.on_the_bus_below(port, hop, &mut reached);
            hop = Hop { at: port, own: false };
        }
        if !self.assumes(Assumptions::PORT_REGISTERS) {
            let bridges = (0..self.functions.len()).filter(|at| self.tree.is_bridge(*at));
            bridges.for_each(|bridge| reached.remove(bridge));
        }
        reached.remove(sender);
        reached
    }

    /// From one function of a device to the others, and through those that are bridges.
    fn inside_the_device(&self, hop: Hop, reached: &mut Set) {
        if !self.missing[hop.at].lets_to_peers(self.assumptions) || !self.may_be_sent(hop) {
            return;
        }
        let inherited = self.assumes(Assumptions::INHERITED);
        if !hop.own && !inherited {
            return;
        }
        for sibling in self.tree.siblings(hop.at) {
            reached.insert(*sibling);
            if inherited {
                reached.add(self.tree.below(*sibling));
            }
        }
    }

    /// On the bus below `port`, where the request comes from `hop`.
    fn on_the_bus_below(&self, port: usize, hop: Hop, reached: &mut Set) {
        let open = match self.tree.roles[port] {
            // All devices listen to all that is on the bus.
            Role::Conventional | Role::End => true,
            // A link: nothing but the port is at its other end.
            Role::RootPort | Role::Downstream => self.missing[port].reflects(self.assumptions),
            Role::Upstream => self.is_open_on_an_internal_bus(hop.at),
        };
        if open && self.may_be_sent(hop) {
            reached.insert(port);
            reached.add(self.tree.below(port));
        }
    }

    /// `at`, which is on the internal bus of a switch, may send to all that is on and behind it.
    fn is_open_on_an_internal_bus(&self, at: usize) -> bool {
        if self.tree.roles[at] != Role::Downstream {
            return self.assumes(Assumptions::INTERNAL_ENDPOINTS);
        }
        let speaks_for_others = !alias_quirks::of(&self.functions[at]).is_empty();
        self.missing[at].lets_to_peers(self.assumptions)
            || speaks_for_others && self.assumes(Assumptions::ALIAS_ON_INTERNAL_BUS)
    }

    /// There is such a request: the function that makes it is one that does.
    fn may_be_sent(&self, hop: Hop) -> bool {
        if !hop.own {
            return true;
        }
        let silent = self.tree.is_bridge(hop.at) && !self.assumes(Assumptions::BRIDGES_SEND);
        !silent && !self.is_host_bridge(hop.at)
    }

    /// A host bridge in a slot with others stands for the root complex and has no requests of its
    /// own, whatever else is assumed.
    fn is_host_bridge(&self, at: usize) -> bool {
        const HOST_BRIDGE: u32 = 0x0600;
        let function = &self.functions[at];
        function.class >> 8 == HOST_BRIDGE
            && function.kind == Some(Kind::Conventional)
            && function.header == 0
            && self.tree.above(at).is_none()
            && !self.tree.siblings(at).is_empty()
    }

    fn assumes(&self, assumption: Assumptions) -> bool {
        self.assumptions.contains(assumption)
    }
}
