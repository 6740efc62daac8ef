//! How many pages the mappings of a domain hold, counted exactly, by CPUs that share no word.
//!
//! ```text
//!  allowed = held by mappings + left in the middle + left with the CPUs
//! ```
//!
//! Each page that is mapped takes one of what is left, and gives it back when its reference goes. A
//! CPU keeps some of it at hand, so that two that map at the same time write words of their own.

use crate::sync::{AtomicU64, Ordering};

/// Parts that what is left is kept in: CPUs share one only if there are more of them.
const PARTS: usize = 8;

/// Pages that a part takes from the middle on top of what it needs. Twice as many go back from it.
const AT_HAND: u64 = 1024;

/// A bound on pages held, and what is left of it.
#[derive(Debug)]
pub(crate) struct Pinned {
    allowed: u64,
    middle: AtomicU64,
    parts: [Part; PARTS],
}

/// What is left with a CPU, in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Part(AtomicU64);

/// Which part a CPU draws on: any number, and the same each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Drawer(pub(crate) usize);

/// Takes at most `most` out of `word`; how much it was.
fn take_from(word: &AtomicU64, most: u64) -> u64 {
    let rest = |left: u64| (left > 0).then(|| left.saturating_sub(most));
    let before = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, rest);
    before.unwrap_or(0).min(most)
}

impl Pinned {
    /// None held of `allowed`.
    pub(crate) fn new(allowed: u64) -> Self {
        let parts = core::array::from_fn(|_| Part(AtomicU64::new(0)));
        Self { allowed, middle: AtomicU64::new(allowed), parts }
    }

    pub(crate) fn allowed(&self) -> u64 {
        self.allowed
    }

    /// Pages held now. While others take and give it may be a little more than there are.
    pub(crate) fn used(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.0.load(Ordering::Acquire));
        parts
            .fold(self.allowed.saturating_sub(self.middle.load(Ordering::Acquire)), |used, left| {
                used.saturating_sub(left)
            })
    }

    /// Takes room for `pages` pages, or for as many as there is.
    #[inline]
    pub(crate) fn take_some(&self, drawer: Drawer, pages: u64) -> u64 {
        if pages == 0 {
            return 0;
        }
        let own = self.part(drawer);
        let enough = |left: u64| left.checked_sub(pages);
        if own.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough).is_ok() {
            return pages;
        }
        self.take_around(drawer, pages)
    }

    /// The same where this CPU has not as many at hand.
    #[cold]
    fn take_around(&self, drawer: Drawer, pages: u64) -> u64 {
        let own = self.part(drawer);
        let mut taken = take_from(own, pages);
        let wanted = pages.saturating_sub(taken).saturating_add(AT_HAND);
        taken = taken.saturating_add(take_from(&self.middle, wanted));
        if let Some(surplus) = taken.checked_sub(pages) {
            own.fetch_add(surplus, Ordering::AcqRel);
            return pages;
        }
        for other in &self.parts {
            taken = taken.saturating_add(take_from(&other.0, pages.saturating_sub(taken)));
        }
        taken
    }

    /// Takes room for `pages` pages, all or nothing; false if there is not as much.
    pub(crate) fn take(&self, drawer: Drawer, pages: u64) -> bool {
        let taken = self.take_some(drawer, pages);
        if taken < pages {
            self.give(drawer, taken);
        }
        taken == pages
    }

    /// Gives the room of `pages` pages back.
    #[inline]
    pub(crate) fn give(&self, drawer: Drawer, pages: u64) {
        if pages == 0 {
            return;
        }
        let own = self.part(drawer);
        let left = own.fetch_add(pages, Ordering::AcqRel).saturating_add(pages);
        if left > AT_HAND.saturating_mul(2) {
            let back = take_from(own, left.saturating_sub(AT_HAND));
            self.middle.fetch_add(back, Ordering::AcqRel);
        }
    }

    #[inline]
    fn part(&self, drawer: Drawer) -> &AtomicU64 {
        let part = drawer.0.checked_rem(PARTS).and_then(|index| self.parts.get(index));
        part.map_or(&self.middle, |part| &part.0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_wherever_it_is_left() {
        let pinned = Pinned::new(3000);
        assert_eq!(pinned.take_some(Drawer(0), 10), 10);
        assert_eq!(pinned.used(), 10);
        // What the first has at hand is not lost for the second.
        assert_eq!(pinned.take_some(Drawer(1), 5000), 2990);
        assert!(!pinned.take(Drawer(2), 1));
        assert_eq!(pinned.used(), 3000);
        pinned.give(Drawer(3), 3000);
        assert_eq!(pinned.used(), 0);
        assert!(!pinned.take(Drawer(4), 3001), "and nothing stays taken");
        assert!(pinned.take(Drawer(5), 3000));
    }

    #[test]
    fn nothing_is_allowed_or_everything_is() {
        assert_eq!(Pinned::new(0).take_some(Drawer(0), 1), 0);
        let all = Pinned::new(u64::MAX);
        assert!(all.take(Drawer(0), u64::MAX - 5));
        all.give(Drawer(1), u64::MAX - 5);
        assert_eq!(all.used(), 0);
    }

    /// INV-57: however many CPUs take and give, what is held never exceeds the bound.
    #[test]
    fn cpus_that_take_and_give_never_hold_more_than_is_allowed() {
        const ALLOWED: u64 = 2000;
        let pinned = Pinned::new(ALLOWED);
        let held = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for cpu in 0..4usize {
                let (pinned, held) = (&pinned, &held);
                scope.spawn(move || {
                    for round in 0..20_000u64 {
                        let wanted = (round * 7 + cpu as u64) % 900 + 1;
                        let taken = pinned.take_some(Drawer(cpu), wanted);
                        let now = held.fetch_add(taken, Ordering::AcqRel) + taken;
                        assert!(now <= ALLOWED, "{now} held");
                        held.fetch_sub(taken, Ordering::AcqRel);
                        pinned.give(Drawer((cpu + usize::from(round % 3 == 0)) % 9), taken);
                    }
                });
            }
        });
        assert_eq!(pinned.used(), 0);
        assert_eq!(pinned.take_some(Drawer(0), u64::MAX), ALLOWED);
    }
}
