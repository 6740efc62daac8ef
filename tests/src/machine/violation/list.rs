//! The violations seen so far.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::Violation;

/// Most violations kept in full; later ones are only counted.
const KEPT: usize = 4096;

/// The list of violations of one machine.
#[derive(Debug, Default)]
pub struct Violations {
    list: Mutex<Vec<Violation>>,
    count: AtomicU64,
}

impl Violations {
    /// Records one.
    pub fn record(&self, violation: Violation) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < KEPT {
            list.push(violation);
        }
    }

    /// The first ones, in the order they were seen; [`count`](Self::count) tells how many more.
    #[must_use]
    pub fn list(&self) -> Vec<Violation> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of all violations since the machine was started.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
