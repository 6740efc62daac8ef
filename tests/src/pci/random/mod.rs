//! Made-up topologies: everything that a machine could have, and some that none should.
//!
//! [`random`] is the same for the same seed, everywhere. [`with_isolation_added`] and
//! [`with_isolation_removed`] change the ACS registers of one function, to see what that does.

mod change;
mod identity;
mod plain;
mod root;
mod slots;

pub use change::{with_isolation_added, with_isolation_removed};
pub use plain::plain;

use super::{Buses, Capture, Captured, Kind, Name};
use crate::replay::sample::Chance;

/// Buses that are numbered at most, so that a few are left for what is begun already.
const MOST_BUSES: u8 = 200;
/// How deep bridges are nested at most.
const DEEPEST: usize = 6;

/// A topology of up to some 90 functions.
#[must_use]
pub fn random(seed: u64) -> Capture {
    let mut maker = Maker::new(seed);
    maker.root_complex();
    maker.finish(format!("random-{seed}"))
}

/// A topology in the making.
struct Maker {
    chance: Chance,
    functions: Vec<Captured>,
    root_buses: Vec<u8>,
    next_bus: u8,
    /// Functions that are still to come, about.
    left: usize,
    /// Of 100 functions, how many get all of ACS.
    isolated: u64,
    /// Of 100 functions, how many are of a device with a quirk.
    quirks: u64,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let left = 5 + chance.below(70) as usize;
        // Where nothing or everything is open, there is little to see.
        let isolated = [5, 40, 70, 90, 97][chance.below(5) as usize];
        let quirks = [0, 0, 3, 20][chance.below(4) as usize];
        let functions = Vec::new();
        Self { chance, functions, root_buses: Vec::new(), next_bus: 0, left, isolated, quirks }
    }

    fn finish(mut self, name: String) -> Capture {
        self.functions.sort_by_key(|function| function.name);
        Capture {
            name,
            description: "made up".to_owned(),
            segment: 0,
            root_buses: self.root_buses,
            functions: self.functions,
            linux_groups: Vec::new(),
            unseen: Vec::new(),
        }
    }

    /// True `percent` times of 100.
    fn one_of_100(&mut self, percent: u64) -> bool {
        self.chance.below(100) < percent
    }

    /// A number from `first` to `last`.
    fn between(&mut self, first: u8, last: u8) -> u8 {
        let span = u64::from(last - first) + 1;
        first + u8::try_from(self.chance.below(span)).unwrap()
    }

    fn take_bus(&mut self) -> u8 {
        let bus = self.next_bus;
        self.next_bus += 1;
        bus
    }

    /// No more bridges may be begun.
    fn is_full(&self, depth: usize) -> bool {
        self.left == 0 || self.next_bus >= MOST_BUSES || depth >= DEEPEST
    }

    /// Adds a function with everything about it that does not depend on its place.
    fn add(&mut self, name: Name, kind: Kind) -> &mut Captured {
        self.left = self.left.saturating_sub(1);
        let mut function = plain(name, kind);
        function.acs = self.acs(kind);
        self.identify(&mut function);
        if self.one_of_100(1) {
            function.kind = None;
        }
        if self.one_of_100(1) {
            (function.acs_is_known, function.acs) = (false, None);
        }
        self.functions.push(function);
        self.functions.last_mut().unwrap()
    }

    /// Adds a bridge and what `fill` puts on the bus below it.
    fn bridge(&mut self, name: Name, kind: Kind, fill: impl FnOnce(&mut Self, u8)) {
        let at = self.functions.len();
        let function = self.add(name, kind);
        (function.header, function.class) = (1, 0x06_0400);
        let secondary = self.take_bus();
        fill(self, secondary);
        let subordinate = self.next_bus - 1;
        self.functions[at].buses = Some(Buses { primary: name.bus, secondary, subordinate });
    }

    /// Capability and control, as a function of `kind` might have them.
    fn acs(&mut self, kind: Kind) -> Option<(u16, u16)> {
        const FULL: u16 = 0x1d;
        if matches!(kind, Kind::Conventional | Kind::PcieToPci | Kind::PciToPcie) {
            return None;
        }
        if self.one_of_100(self.isolated) {
            return Some((FULL, FULL));
        }
        let some = self.chance.next() as u16 & FULL;
        match self.chance.below(8) {
            0 | 1 => None,
            2 => Some((FULL, 0)),
            3 => Some((some, some)),
            4 => Some((FULL, some)),
            5 => Some((0, 0)),
            // All of it, and egress control besides.
            6 => Some((FULL | 0x20, FULL | 0x20)),
            // Translation blocking and direct translated requests are for others to judge.
            _ => Some((FULL | 0x42, some | 0x42)),
        }
    }
}
