//! The groups that are safe: everything that can reach each other without the IOMMU, or that the
//! IOMMU cannot tell apart.
//!
//! ```text
//!   beside each other                       down
//!   ─────────────────                       ────
//!   same device, and one lets through       the bus below a bridge is open: all on it, all below,
//!   one id: aliases, phantoms, firmware       and the bridge
//!   one direct range                        a bridge is tied to something beside it:
//!   one page of registers                     all that is below
//! ```
//!
//! The bus below a bridge is *open* if it is a conventional one; below a root port that does not
//! isolate; and inside a switch, if anything there is not a port that isolates, or may use the id of
//! another. Access control acts where a request comes in: one port that does not isolate lets what is below
//! it reach all others, isolating or not.

use pviommu_abi::PciDevice;

use super::{
    DirectRange, Firmware, IdAlias, Kind, Node, REGIONS, Reason,
    ids::taken_over_by,
    isolation::Surroundings,
    node::{Marks, NONE, Nodes},
    quirks,
};

/// Functions of one bus.
const BUS: usize = 256;

impl Nodes<'_> {
    /// Forms the groups.
    pub(super) fn form_safe(&mut self, firmware: &Firmware<'_>) {
        let around = Surroundings { ivrs: firmware.amd_ivrs };
        for node in 0..self.count() {
            if !self.isolates(node, around) {
                self.mark(node, Marks::OPEN);
            }
        }
        self.find_open_switches();
        self.tie_devices();
        self.tie_ids();
        self.tie_aliases(firmware.aliases);
        self.tie_direct(firmware.direct);
        self.tie_register_pages();
        self.tie_names();
        self.tie_down();
    }

    /// Notes for each upstream port whether something inside its switch opens that.
    fn find_open_switches(&mut self) {
        for node in 0..self.count() {
            let Some(above) = self.above(node) else { continue };
            if self.facts(above).is_none_or(|above| above.kind != Kind::UpstreamPort) {
                continue;
            }
            let opens = self.is(node, Marks::OPEN)
                || self.facts(node).is_some_and(|function| {
                    function.kind != Kind::DownstreamPort
                        || !quirks::aliases(function).is_empty()
                        || quirks::may_use_any_id(&function.identity)
                });
            if let Some(port) = self.at(above).filter(|port| opens && port.witness == NONE) {
                port.witness = node;
            }
        }
    }

    /// Ties the functions of a device to one that lets requests through.
    fn tie_devices(&mut self) {
        // The first open function of each device stands in the place of its first function.
        for node in 0..self.count() {
            let Some(device) = self.get(node).map(|node| node.device) else { continue };
            let open = self.is(node, Marks::OPEN);
            if let Some(first) = self.at(device).filter(|first| open && first.head == NONE) {
                first.head = node;
            }
        }
        for node in 0..self.count() {
            let device = self.get(node).map_or(NONE, |node| node.device);
            let open = self.get(device).map_or(NONE, |first| first.head);
            if open != NONE {
                self.tie_beside(node, open, Reason::SameDevice);
            }
        }
        self.0.iter_mut().for_each(|node| node.head = NONE);
    }

    /// Ties functions of a bus of which one may use the id of the other.
    fn tie_ids(&mut self) {
        let mut from = 0;
        while let Some(key) = self.facts(from).map(super::Function::bus_key) {
            let (first, end) = self.bus(key);
            self.tie_ids_of_bus(first, end);
            from = end.max(from.saturating_add(1));
        }
    }

    fn tie_ids_of_bus(&mut self, first: u32, end: u32) {
        let mut users = [NONE; BUS];
        for node in first..end {
            let devfn = self.facts(node).map(|function| usize::from(function.address.devfn));
            if let Some(user) = devfn.and_then(|devfn| users.get_mut(devfn)) {
                *user = node;
            }
        }
        for node in first..end {
            let Some(function) = self.facts(node) else { continue };
            let any = quirks::may_use_any_id(&function.identity);
            let aliases = if any { quirks::DevfnSet::ALL } else { quirks::aliases(function) };
            for devfn in aliases.iter().chain(quirks::phantoms(function).iter()) {
                let Some(user) = users.get_mut(usize::from(devfn)) else { continue };
                let other = core::mem::replace(user, if *user == NONE { node } else { *user });
                if other != NONE && other != node {
                    self.tie_beside(node, other, Reason::SharedId);
                    self.share(node, other);
                }
            }
        }
    }

    /// Ties functions whose requests carry one id, by what firmware says.
    fn tie_aliases(&mut self, aliases: &[IdAlias]) {
        let mut before: Option<(PciDevice, u32)> = None;
        for alias in aliases {
            let Some(node) = self.find(alias.function) else { continue };
            match before.filter(|(id, _)| *id == alias.id.0) {
                // That one is tied to all others who have it.
                Some((_, same)) => self.tie_alias(node, same),
                None => self.tie_users(node, alias.id.0),
            }
            before = Some((alias.id.0, node));
        }
    }

    /// Ties `node` to all whose requests may carry `id` without firmware's saying so.
    fn tie_users(&mut self, node: u32, id: PciDevice) {
        let (first, end) = self.bus(id.sbdf() >> 8);
        for other in first..end {
            let Some(function) = self.facts(other) else { continue };
            let carries = function.address == id
                || quirks::may_use_any_id(&function.identity)
                || quirks::aliases(function).contains(id.devfn)
                || quirks::phantoms(function).contains(id.devfn);
            if carries {
                self.tie_alias(node, other);
            }
        }
        // A bridge that is tied to what is below it, where it puts the id in place of theirs.
        let bridge = (first..end).find_map(|below| self.above(below));
        let takes_over = bridge.and_then(|bridge| self.facts(bridge)).is_some_and(|facts| {
            let above = bridge.and_then(|bridge| self.above(bridge));
            let above = above.and_then(|above| self.facts(above));
            taken_over_by(facts, above).any(|taken| taken.0 == id)
        });
        if let Some(bridge) = bridge.filter(|_| takes_over) {
            self.tie_alias(node, bridge);
        }
    }

    fn tie_alias(&mut self, node: u32, other: u32) {
        self.tie_beside(node, other, Reason::FirmwareAlias);
        self.share(node, other);
    }

    /// Ties functions that firmware has use the same memory.
    fn tie_direct(&mut self, ranges: &[DirectRange]) {
        let mut reach: Option<(u64, u32)> = None;
        for DirectRange { function, bytes, .. } in ranges.iter().filter(|range| !range.relaxable) {
            let Some(node) = self.find(*function) else { continue };
            // By page: that is what is mapped.
            let (first, last) = (bytes.first >> 12, bytes.last >> 12);
            reach = match reach {
                Some((until, other)) if first <= until => {
                    self.tie_beside(node, other, Reason::SharedDirectRange);
                    Some((until.max(last), other))
                }
                _ => Some((last, node)),
            };
        }
    }

    /// Ties functions that have registers in one page. A region of a page or more begins with a page of its
    /// own, so where two begin in one, they share it.
    fn tie_register_pages(&mut self) {
        let count = self.count();
        for node in 0..count {
            for (place, region) in
                (0..NONE).zip(self.facts(node).map_or([0; REGIONS], |it| it.regions))
            {
                let page = region >> 12;
                if page == 0 {
                    continue;
                }
                let bucket = bucket(page, count);
                let own = node.saturating_mul(8).saturating_add(place);
                let mut at = self.get(bucket).map_or(NONE, |node| node.head);
                // As many as there are regions, at most.
                while let Some((other, region, next)) = self.region(at) {
                    if region >> 12 == page {
                        self.tie_beside(node, other, Reason::SharedRegisterPage);
                        break;
                    }
                    at = next;
                }
                let head = self.at(bucket).map(|it| core::mem::replace(&mut it.head, own));
                let chain = self.at(node).and_then(|it| it.chain.get_mut(place_of(place)));
                if let (Some(head), Some(chain)) = (head, chain) {
                    *chain = head;
                }
            }
        }
    }

    /// A region in a list: its function, where it begins, and the one after it.
    fn region(&self, at: u32) -> Option<(u32, u64, u32)> {
        let (node, place) = (at >> 3, place_of(at & 7));
        let found = self.get(node).filter(|_| at != NONE)?;
        Some((node, *found.facts.regions.get(place)?, *found.chain.get(place)?))
    }

    /// Ties functions to the one in whose name they send.
    fn tie_names(&mut self) {
        for node in 0..self.count() {
            let name = self.facts(node).and_then(|function| function.requests_as);
            if let Some(other) = name.and_then(|name| self.find(name)).filter(|it| *it != node) {
                self.tie_beside(node, other, Reason::InTheNameOf);
                self.share(node, other);
            }
        }
    }

    /// Ties what is below a bridge to it, where it has to be. Bridges come before what is below them.
    fn tie_down(&mut self) {
        for node in 0..self.count() {
            let Some(above) = self.above(node) else { continue };
            let open = self.get(above).and_then(Node::open_below);
            let tied = self.is(above, Marks::TIED);
            let Some(reason) = open.or(tied.then_some(Reason::BelowTied)) else { continue };
            self.tie(node, above, reason);
            self.mark(node, Marks::TIED);
            // A bridge to a conventional bus takes over the requests of all that is below.
            let masked = reason == Reason::ConventionalBus || self.is(above, Marks::MASKED);
            let root =
                self.facts(above).is_some_and(|it| quirks::is_translation_root(&it.identity));
            if masked && !root {
                self.share(node, above);
                self.mark(node, Marks::MASKED);
            }
        }
    }
}

impl Node {
    /// Why the bus right below this bridge is open, if it is.
    pub(super) fn open_below(&self) -> Option<Reason> {
        match self.facts.kind {
            Kind::RootPort | Kind::DownstreamPort => {
                self.marks.contains(Marks::OPEN).then_some(Reason::OpenPort)
            }
            Kind::UpstreamPort => (self.witness != NONE).then_some(Reason::OpenSwitch),
            _ => Some(Reason::ConventionalBus),
        }
    }
}

fn bucket(page: u64, count: u32) -> u32 {
    let mixed = page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let bucket = mixed.checked_rem(u64::from(count)).unwrap_or(0);
    u32::try_from(bucket).unwrap_or(0)
}

fn place_of(place: u32) -> usize {
    usize::try_from(place).unwrap_or(REGIONS)
}
