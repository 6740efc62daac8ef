//! Reserving: frames that nobody is given from now on.

#![forbid(unsafe_code)]

use super::{Depot, Entry, Id, State};

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bfn) enum NotReserved {
    /// This range is handed out.
    Out { first: u64, last: u64 },
    /// No entry is unused.
    NoEntry,
}

impl Depot<[Entry]> {
    /// Reserves `first..=last`, as far as it lies in the aperture. Looks at every range below
    /// `last`.
    pub(in crate::bfn) fn reserve(&mut self, first: u64, last: u64) -> Result<(), NotReserved> {
        let begin = self.first_that_ends_at(first);
        self.check(begin, first, last)?;
        let mut id = begin;
        // A turn for each range that has frames in it.
        while let Some(&entry) = self.get(id) {
            if entry.first > last {
                break;
            }
            if entry.state == State::Free {
                id = self.cut_out(id, first, last).ok_or(NotReserved::NoEntry)?;
                id = self.join_reserved(id);
            }
            id = self.get(id).map_or(Id::NONE, |entry| entry.after);
        }
        Ok(())
    }

    /// The lowest range that ends at `frame` or above.
    fn first_that_ends_at(&self, frame: u64) -> Id {
        let mut id = self.lowest;
        while let Some(entry) = self.get(id) {
            if entry.last() >= frame {
                break;
            }
            id = entry.after;
        }
        id
    }

    /// Whether nothing is handed out, and there are entries for what stays free at both ends.
    fn check(&self, begin: Id, first: u64, last: u64) -> Result<(), NotReserved> {
        let (mut id, mut needed) = (begin, 0_usize);
        while let Some(entry) = self.get(id) {
            if entry.first > last {
                break;
            }
            match entry.state {
                State::Out => {
                    return Err(NotReserved::Out { first: entry.first, last: entry.last() });
                }
                State::Free => {
                    let ends = [entry.first < first, entry.last() > last];
                    needed = ends.iter().fold(needed, |n, end| n.saturating_add((*end).into()));
                }
                State::Reserved | State::Unused => {}
            }
            id = entry.after;
        }
        if self.spare() < needed { Err(NotReserved::NoEntry) } else { Ok(()) }
    }

    /// Makes the part of a free range reserved that lies within `first..=last`. What is above stays
    /// free, and so does what is below.
    fn cut_out(&mut self, id: Id, first: u64, last: u64) -> Option<Id> {
        let entry = *self.get(id)?;
        let (from, to) = (entry.first.max(first), entry.last().min(last));
        let below = from.wrapping_sub(entry.first);
        let above = entry.last().wrapping_sub(to);
        let pages = entry.pages.wrapping_sub(below).wrapping_sub(above);
        self.free_pages = self.free_pages.saturating_sub(pages);
        let cut = if below == 0 {
            self.unlink(id);
            id
        } else {
            self.resize(id, below);
            self.insert(id, from, pages, entry.zone)?
        };
        let reserved = self.get_mut(cut)?;
        (reserved.pages, reserved.state) = (pages, State::Reserved);
        if above != 0 {
            let rest = self.insert(cut, to.wrapping_add(1), above, entry.zone)?;
            self.link(rest);
        }
        Some(cut)
    }

    /// Joins a reserved range with reserved neighbours; returns the one that has it now.
    fn join_reserved(&mut self, id: Id) -> Id {
        let Some(&Entry { before, after, .. }) = self.get(id) else { return id };
        self.join_with_next(id, after);
        if self.join_with_next(before, id) { before } else { id }
    }

    /// Makes two reserved ranges that touch one; false if they are not both reserved.
    fn join_with_next(&mut self, id: Id, next: Id) -> bool {
        let (Some(one), Some(other)) = (self.get(id), self.get(next)) else { return false };
        if one.state != State::Reserved || other.state != State::Reserved {
            return false;
        }
        let pages = one.pages.saturating_add(other.pages);
        self.remove(next);
        if let Some(entry) = self.get_mut(id) {
            entry.pages = pages;
        }
        true
    }
}
