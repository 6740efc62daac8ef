//! What a unit has not been told yet, because whoever had to tell it must not wait.

use crate::sync::{AtomicU64, Ordering};

/// How often something was owed, and how much of that is settled.
///
/// A debt is settled when the unit has done it, not when somebody has begun: a call that finds one open
/// settles it too, rather than return before another that is under way.
#[derive(Debug)]
pub(super) struct Owed {
    asked: AtomicU64,
    done: AtomicU64,
}

impl Owed {
    pub(super) fn new() -> Self {
        Self { asked: AtomicU64::new(0), done: AtomicU64::new(0) }
    }

    /// The unit has to be told something, by the next call that may wait.
    pub(super) fn owe(&self) {
        self.asked.fetch_add(1, Ordering::Release);
    }

    /// How often something was owed, if not all of it is settled.
    pub(super) fn open(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::Acquire);
        (self.done.load(Ordering::Acquire) != asked).then_some(asked)
    }

    /// All that [`open`](Self::open) told of is settled.
    pub(super) fn settle(&self, asked: u64) {
        let mut done = self.done.load(Ordering::Relaxed);
        // It only grows, so this ends.
        while done < asked {
            let exchanged =
                self.done.compare_exchange(done, asked, Ordering::Release, Ordering::Relaxed);
            match exchanged {
                Ok(_) => break,
                Err(now) => done = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_open_until_it_is_settled_and_not_until_somebody_begins() {
        let owed = Owed::new();
        assert_eq!(owed.open(), None);
        owed.owe();
        assert_eq!((owed.open(), owed.open()), (Some(1), Some(1)), "for everybody who asks");
        owed.owe();
        owed.settle(1);
        assert_eq!(owed.open(), Some(2), "what came meanwhile is open still");
        owed.settle(2);
        owed.settle(1);
        assert_eq!(owed.open(), None, "a late one takes nothing back");
    }
}
