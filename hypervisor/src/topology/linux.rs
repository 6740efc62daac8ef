//! The groups that Linux forms at boot, for comparison: `pci_device_group()` of Linux 6.12, function by
//! function in the order in which a bus scan finds them.
//!
//! It is wrong where functions reach each other sideways: see what `safe.rs` ties and this does not.

use super::{
    Firmware, Kind, Reason,
    isolation::{Surroundings, is_linux_multifunction},
    node::{Marks, Nodes},
    quirks::{self, DevfnSet},
};

impl Nodes<'_> {
    /// Forms the groups.
    pub(super) fn form_as_linux(&mut self, firmware: &Firmware<'_>) {
        let around = Surroundings { ivrs: firmware.amd_ivrs };
        for node in 0..self.count() {
            if !self.linux_isolates(node, around) {
                self.mark(node, Marks::OPEN);
            }
        }
        let mut from = 0;
        while let Some(bus) = self.next_root(from) {
            self.scan(bus);
            from = self.bus(bus).1;
        }
        // Virtual functions come when their driver asks for them.
        for node in 0..self.count() {
            if self.facts(node).is_some_and(super::Function::is_virtual) {
                self.place(node);
            }
        }
    }

    /// The first root bus with functions from this one on.
    fn next_root(&self, from: u32) -> Option<u32> {
        let root = (from..self.count()).find(|node| self.above(*node).is_none())?;
        self.facts(root).map(super::Function::bus_key)
    }

    /// Places what is on and below a root bus: each bus first, then what is below its bridges.
    fn scan(&mut self, top: u32) {
        let mut key = top;
        let (mut first, mut end) = self.bus(key);
        (first..end).for_each(|node| self.place_unless_virtual(node));
        // Each bus is entered once and left once.
        for _ in 0..self.0.len().saturating_mul(2) {
            let below = (first..end).find_map(|node| {
                let function = self.facts(node).filter(|function| !function.is_virtual())?;
                let bus = u32::from(function.secondary()?);
                Some((node, (key & !0xff) | bus))
            });
            if let Some((_, bus)) = below {
                key = bus;
                (first, end) = self.bus(key);
                (first..end).for_each(|node| self.place_unless_virtual(node));
                if first < end {
                    continue;
                }
            }
            // Nothing is below, or nothing is there: on with the next bridge, further up if need be.
            let bridge = below.map(|(bridge, _)| bridge).or_else(|| self.bridge_to(key));
            let Some(bridge) = bridge else { return };
            key = self.facts(bridge).map_or(top, super::Function::bus_key);
            end = self.bus(key).1;
            first = bridge.saturating_add(1);
        }
    }

    /// The bridge whose secondary bus this is.
    fn bridge_to(&self, key: u32) -> Option<u32> {
        let (first, end) = self.bus(key);
        let mut own = (first..end)
            .filter(|node| self.facts(*node).is_some_and(|function| !function.is_virtual()));
        own.find_map(|node| self.above(node))
    }

    fn place_unless_virtual(&mut self, node: u32) {
        if self.facts(node).is_some_and(|function| !function.is_virtual()) {
            self.place(node);
        }
    }

    /// Puts a function into a group that is there, or leaves it to begin one.
    fn place(&mut self, node: u32) {
        if self.facts(node).is_none_or(|function| function.unit.is_none()) {
            return;
        }
        if let Some((other, reason)) = self.group_for(node) {
            self.tie(node, other, reason);
        }
        self.mark(node, Marks::PLACED);
    }

    fn group_for(&self, node: u32) -> Option<(u32, Reason)> {
        // By the requester id.
        let sender = self.facts(node).and_then(|function| function.requests_as);
        let mut top = sender.and_then(|sender| self.find(sender)).unwrap_or(node);
        if let Some(found) = self.placed(top) {
            return Some((found, Reason::LinuxAlias));
        }
        let mut at = self.above(top);
        while let Some(bridge) = at {
            let Some(function) = self.facts(bridge) else { break };
            if quirks::is_translation_root(&function.identity) {
                break;
            }
            let passes =
                matches!(function.kind, Kind::RootPort | Kind::UpstreamPort | Kind::DownstreamPort);
            if !passes {
                top = bridge;
                if let Some(found) = self.placed(top) {
                    return Some((found, Reason::LinuxAlias));
                }
            }
            at = self.above(bridge);
        }
        // By the way to the root.
        let mut at = self.above(top);
        while let Some(bridge) = at.filter(|bridge| !self.path_isolates(*bridge)) {
            top = bridge;
            if let Some(found) = self.placed(top) {
                return Some((found, Reason::LinuxPath));
            }
            at = self.above(bridge);
        }
        // By its neighbours.
        self.beside(top)
    }

    /// A function that has a group.
    fn placed(&self, node: u32) -> Option<u32> {
        self.is(node, Marks::PLACED).then_some(node)
    }

    /// True if this bridge and all those above it isolate.
    fn path_isolates(&self, bridge: u32) -> bool {
        let mut at = Some(bridge);
        while let Some(bridge) = at {
            if self.is(bridge, Marks::OPEN) {
                return false;
            }
            at = self.above(bridge);
        }
        true
    }

    /// The group of a function that shares ids with `top`, or is an open function of its slot, or of one that
    /// does: searched in depth, each function of the bus once.
    fn beside(&self, top: u32) -> Option<(u32, Reason)> {
        let (first, end) = self.bus(self.facts(top)?.bus_key());
        let mut search = Search { steps: heapless::Vec::new(), seen: DevfnSet::default() };
        search.go(Step { node: top, in_slot: true, next: first });
        search.go(Step { node: top, in_slot: false, next: first });
        search.see(self, top);
        while let Some(Step { node, in_slot, next }) = search.steps.pop() {
            let related = |other: &u32| match in_slot {
                true => self.is_open_beside(node, *other),
                false => self.shares_ids(node, *other),
            };
            let Some(other) = (next..end).find(related) else { continue };
            search.go(Step { node, in_slot, next: other.saturating_add(1) });
            if !search.see(self, other) {
                continue;
            }
            if let Some(found) = self.placed(other) {
                let reason = if in_slot { Reason::LinuxSlot } else { Reason::LinuxSameBus };
                return Some((found, reason));
            }
            if !in_slot {
                search.go(Step { node: other, in_slot: true, next: first });
            }
            search.go(Step { node: other, in_slot: false, next: first });
        }
        None
    }

    /// True if one of two functions of a bus may use the id of the other: `pci_devs_are_dma_aliases()`.
    fn shares_ids(&self, one: u32, other: u32) -> bool {
        let (Some(a), Some(b)) = (self.facts(one), self.facts(other)) else { return false };
        let uses = |a: &super::Function, b: &super::Function| {
            quirks::aliases(a).contains(b.address.devfn) || a.requests_as == Some(b.address)
        };
        one != other && (uses(a, b) || uses(b, a))
    }

    /// True if both are functions of one slot that do not isolate, and the first is one of several.
    fn is_open_beside(&self, one: u32, other: u32) -> bool {
        let (Some(a), Some(b)) = (self.facts(one), self.facts(other)) else { return false };
        let open = self.is(one, Marks::OPEN) && self.is(other, Marks::OPEN);
        let slot = a.address.device() == b.address.device();
        one != other && open && slot && is_linux_multifunction(a)
    }
}

/// Where a search has come to.
struct Search {
    steps: heapless::Vec<Step, MOST_STEPS>,
    seen: DevfnSet,
}

/// Two for each function of a bus, and one that goes on.
const MOST_STEPS: usize = 3 * 256;

/// A function whose relatives are looked for.
#[derive(Clone, Copy)]
struct Step {
    node: u32,
    in_slot: bool,
    /// The first function of the bus that was not looked at.
    next: u32,
}

impl Search {
    fn go(&mut self, step: Step) {
        // There is room for all.
        let _ = self.steps.push(step);
    }

    /// True the first time.
    fn see(&mut self, nodes: &Nodes<'_>, node: u32) -> bool {
        let Some(function) = nodes.facts(node) else { return false };
        let devfn = function.address.devfn;
        let new = !self.seen.contains(devfn);
        self.seen.insert(devfn);
        new
    }
}
