//! First fit from the top, with a `BTreeMap`.

use std::collections::BTreeMap;

use spin::Mutex;

use crate::allocator::{Allocator, FIRST, LAST};

/// The pages of each free range, by its first frame. None touch.
pub(crate) struct FirstFit(BTreeMap<u64, u64>);

impl Allocator for FirstFit {
    type Range = (u64, u64);

    const NAME: &str = "first-fit";

    fn new() -> Self {
        Self(BTreeMap::from([(FIRST, LAST - FIRST + 1)]))
    }

    fn take(&mut self, _cpu: usize, pages: u64) -> (u64, u64) {
        let mut free = self.0.iter_mut().rev();
        let (first, length) = free.find(|(_, length)| **length >= pages).expect("there is room");
        let (first, rest) = (*first, *length - pages);
        *length = rest;
        if rest == 0 {
            self.0.remove(&first);
        }
        (first + rest, pages)
    }

    fn give(&mut self, _cpu: usize, (first, mut pages): (u64, u64)) {
        if let Some(more) = self.0.remove(&(first + pages)) {
            pages += more;
        }
        if let Some((before, length)) = self.0.range_mut(..first).next_back()
            && before + *length == first
        {
            *length += pages;
        } else {
            self.0.insert(first, pages);
        }
    }

    fn first((first, _): &(u64, u64)) -> Option<u64> {
        Some(*first)
    }
}

/// The same, which CPUs can share: behind the lock that ours has, too.
pub(crate) struct Locked(Mutex<FirstFit>);

impl Allocator for Locked {
    type Range = (u64, u64);

    const NAME: &str = "first-fit-locked";

    fn new() -> Self {
        Self(Mutex::new(FirstFit::new()))
    }

    fn take(&mut self, cpu: usize, pages: u64) -> (u64, u64) {
        self.0.lock().take(cpu, pages)
    }

    fn give(&mut self, cpu: usize, range: (u64, u64)) {
        self.0.lock().give(cpu, range);
    }

    fn first(range: &(u64, u64)) -> Option<u64> {
        FirstFit::first(range)
    }
}

/// Where each range ends that is taken, by its first frame; what is free lies in between.
pub(crate) struct OfTaken(BTreeMap<u64, u64>);

impl Allocator for OfTaken {
    type Range = u64;

    const NAME: &str = "first-fit-of-taken";

    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn take(&mut self, _cpu: usize, pages: u64) -> u64 {
        let mut above = LAST + 1;
        for (first, end) in self.0.iter().rev() {
            if above - end >= pages {
                break;
            }
            above = *first;
        }
        assert!(above >= FIRST + pages, "there is room");
        self.0.insert(above - pages, above);
        above - pages
    }

    fn give(&mut self, _cpu: usize, first: u64) {
        self.0.remove(&first);
    }

    fn first(first: &u64) -> Option<u64> {
        Some(*first)
    }
}
