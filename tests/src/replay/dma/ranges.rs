//! The bus frames that the driver's API has handed out: who uses them, and when they are gone.
//!
//! What the API says of a buffer is compared with what the witness has seen on its way to the
//! hypervisor: a buffer must not come back while its bus frames can be reached, and what nobody uses
//! must not stay mapped for longer, or in greater number, than the mode allows.

use std::collections::BTreeMap;

use crate::replay::spans::Span;

/// Bus frames that were handed out, as one mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    /// No other range has this number, now or later.
    number: u64,
    bus: Span,
    users: u32,
}

/// A range as its users know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Name {
    pub(super) context: u64,
    pub(super) bus: Span,
    number: u64,
}

/// All that is mapped through the API, by context and first bus frame.
#[derive(Default, Debug)]
pub(super) struct Ranges {
    ranges: BTreeMap<(u64, u64), Range>,
    /// By context, how many nobody uses.
    idle: BTreeMap<u64, u64>,
    next: u64,
}

impl Ranges {
    /// A mapping was handed out. `None` if these bus frames are somebody else's in another way.
    pub(super) fn used(&mut self, context: u64, bus: Span) -> Option<Name> {
        if let Some(range) = self.ranges.get_mut(&(context, bus.first)) {
            if range.bus != bus {
                return None;
            }
            if range.users == 0 {
                *self.idle.entry(context).or_default() -= 1;
            }
            range.users += 1;
            return Some(Name { context, bus, number: range.number });
        }
        let before = self.ranges.range((context, 0)..(context, bus.first)).next_back();
        let after = self.ranges.range((context, bus.first)..=(context, bus.last)).next();
        if before.into_iter().chain(after).any(|(_, other)| other.bus.overlaps(bus)) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.ranges.insert((context, bus.first), Range { number, bus, users: 1 });
        Some(Name { context, bus, number })
    }

    /// A mapping was given back.
    pub(super) fn left(&mut self, name: &Name) {
        if let Some(range) = self.ranges.get_mut(&(name.context, name.bus.first))
            && range.number == name.number
        {
            range.users = range.users.saturating_sub(1);
            if range.users == 0 {
                *self.idle.entry(name.context).or_default() += 1;
            }
        }
    }

    /// Bus frames can be reached no more. Says which of them somebody uses.
    pub(super) fn gone(&mut self, context: u64, bus: Span) -> Option<Span> {
        let mut used = None;
        let before = self.ranges.range((context, 0)..(context, bus.first)).next_back();
        let within = self.ranges.range((context, bus.first)..=(context, bus.last));
        let hit: Vec<u64> = before
            .into_iter()
            .chain(within)
            .filter(|(_, range)| range.bus.overlaps(bus))
            .map(|((_, first), _)| *first)
            .collect();
        for first in hit {
            let Some(range) = self.ranges.remove(&(context, first)) else { continue };
            if range.users == 0 {
                *self.idle.entry(context).or_default() -= 1;
            } else {
                used = Some(range.bus);
            }
        }
        used
    }

    /// True if nobody can reach what a user of this range had.
    pub(super) fn is_gone(&self, name: &Name) -> bool {
        let there = self.ranges.get(&(name.context, name.bus.first));
        there.is_none_or(|range| range.number != name.number)
    }

    /// How many ranges of a context are mapped and nobody uses them.
    pub(super) fn idle(&self, context: u64) -> u64 {
        self.idle.get(&context).copied().unwrap_or(0)
    }

    /// A context is no more.
    pub(super) fn forget(&mut self, context: u64) {
        self.ranges.retain(|(of, _), _| *of != context);
        self.idle.remove(&context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Span = Span { first: 0x10, last: 0x13 };

    #[test]
    fn a_range_is_gone_when_all_that_overlaps_it_was_flushed() {
        let mut ranges = Ranges::default();
        let a = ranges.used(1, A).unwrap();
        ranges.left(&a);
        assert_eq!((ranges.idle(1), ranges.is_gone(&a)), (1, false));
        assert_eq!(ranges.gone(2, A), None, "of another context");
        assert!(!ranges.is_gone(&a));
        assert_eq!(ranges.gone(1, Span { first: 0, last: 0x10 }), None);
        assert_eq!((ranges.idle(1), ranges.is_gone(&a)), (0, true));
        let again = ranges.used(1, A).unwrap();
        assert!(ranges.is_gone(&a), "another range at the same bus frames");
        assert_eq!(ranges.gone(1, A), Some(A), "somebody uses it");
        assert!(ranges.is_gone(&again));
    }

    #[test]
    fn a_range_is_shared_and_kept() {
        let mut ranges = Ranges::default();
        let a = ranges.used(1, A).unwrap();
        let b = ranges.used(1, A).unwrap();
        ranges.left(&a);
        assert_eq!(ranges.idle(1), 0);
        ranges.left(&b);
        assert_eq!((ranges.idle(1), ranges.is_gone(&b)), (1, false));
        ranges.used(1, A).unwrap();
        assert_eq!(ranges.idle(1), 0);
    }

    #[test]
    fn bus_frames_are_not_handed_out_twice() {
        let mut ranges = Ranges::default();
        ranges.used(1, A).unwrap();
        for (first, last) in [(0x10, 0x12), (0x13, 0x14), (0xf, 0x10), (0x11, 0x11)] {
            assert_eq!(ranges.used(1, Span { first, last }), None);
        }
        assert!(ranges.used(1, Span { first: 0x14, last: 0x14 }).is_some());
        assert!(ranges.used(2, Span { first: 0x11, last: 0x11 }).is_some());
    }
}
