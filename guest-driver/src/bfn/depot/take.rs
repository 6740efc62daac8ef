//! Taking: which free range, and where in it.

#![forbid(unsafe_code)]

use super::free_lists::{class_for, class_of};
use super::zones::{ZONES, zone_of};
use super::{Depot, Entry, Id, Reach};

/// How many free ranges of a zone are looked at that may be long enough, before there is no room.
const PROBES: usize = 64;

/// A range that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bfn) struct Taken {
    pub(in crate::bfn) first: u64,
    pub(in crate::bfn) id: Id,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bfn) enum Unmet {
    /// No range is free that is long enough.
    NoRoom,
    /// No entry is unused.
    NoEntry,
}

impl Depot<[Entry]> {
    /// Takes `pages` pages, at least one, whose first frame is a multiple of `align`, a power of
    /// two.
    ///
    /// Whole zones first, the highest of them before the others, where the first range found will
    /// do. Then [`PROBES`] ranges of each zone that may or may not.
    pub(in crate::bfn) fn take(
        &mut self,
        pages: u64,
        align: u64,
        reach: Reach,
    ) -> Result<Taken, Unmet> {
        let whole = reach.whole_zones(self.last);
        // Room for the way up to the next multiple.
        let sure = pages.checked_add(align.wrapping_sub(1)).and_then(class_for);
        if let Some(class) = sure {
            for zone in (reach.lowest..whole).rev() {
                if let Some(found) = self.free.next_class(zone, class) {
                    let id = self.free.head(zone, found);
                    if let Some(first) = self.fit(id, pages, align, reach.limit) {
                        return self.cut(id, first, pages);
                    }
                }
            }
        }
        if pages > 1 || align > 1 || whole <= zone_of(reach.limit) {
            let partly = whole.saturating_add(1).min(ZONES);
            for zone in (reach.lowest..partly).rev() {
                if let Some((id, first)) = self.probe(zone, pages, align, reach.limit) {
                    return self.cut(id, first, pages);
                }
            }
        }
        Err(Unmet::NoRoom)
    }

    /// Takes up to `most` ranges of `pages` pages, a power of two, from whole zones, and gives them to
    /// `each`, the highest first.
    pub(in crate::bfn) fn take_some(
        &mut self,
        pages: u64,
        reach: Reach,
        most: usize,
        mut each: impl FnMut(Taken),
    ) {
        let class = class_of(pages);
        let mut left = most;
        for zone in (reach.lowest..reach.whole_zones(self.last)).rev() {
            while left != 0
                && let Some(found) = self.free.next_class(zone, class)
            {
                let id = self.free.head(zone, found);
                let taken = self.slice(id, pages, left, &mut each);
                if taken == 0 {
                    return;
                }
                left = left.saturating_sub(taken);
            }
        }
    }

    /// Takes up to `most` ranges of `pages` pages, a power of two, off the top of a free range that
    /// has them. Returns how many.
    fn slice(&mut self, id: Id, pages: u64, most: usize, each: &mut impl FnMut(Taken)) -> usize {
        let Some(&entry) = self.get(id) else { return 0 };
        let most = (most as u64).min(self.spare() as u64);
        let count = (entry.pages.wrapping_shr(pages.trailing_zeros())).min(most);
        let all = count.wrapping_mul(pages);
        let rest = entry.pages.wrapping_sub(all);
        let mut first = entry.first.wrapping_add(entry.pages);
        // What is left of it is the lowest piece, if all of it is taken.
        if rest == 0 {
            self.unlink(id);
            if let Some(entry) = self.get_mut(id) {
                entry.pages = pages;
            }
        } else {
            self.resize(id, rest);
        }
        self.free_pages = self.free_pages.saturating_sub(all);
        for _ in u64::from(rest == 0)..count {
            first = first.wrapping_sub(pages);
            let Some(id) = self.insert(id, first, pages, entry.zone) else { break };
            each(Taken { first, id });
        }
        if rest == 0 {
            each(Taken { first: entry.first, id });
        }
        count as usize
    }

    /// Looks for a place in ranges that may be too short, or too high.
    fn probe(&self, zone: usize, pages: u64, align: u64, limit: u64) -> Option<(Id, u64)> {
        let mut class = self.free.next_class(zone, class_of(pages))?;
        let mut id = self.free.head(zone, class);
        for _ in 0..PROBES {
            if let Some(first) = self.fit(id, pages, align, limit) {
                return Some((id, first));
            }
            id = self.get(id)?.next;
            if id == Id::NONE {
                class = self.free.next_class(zone, class.checked_add(1)?)?;
                id = self.free.head(zone, class);
            }
        }
        None
    }

    /// The highest place of `pages` pages in a free range.
    fn fit(&self, id: Id, pages: u64, align: u64, limit: u64) -> Option<u64> {
        let entry = self.get(id)?;
        let last = entry.last().min(limit);
        let highest = last.checked_sub(pages.checked_sub(1)?)?;
        let first = highest & !align.wrapping_sub(1);
        (first >= entry.first).then_some(first)
    }

    /// Takes `pages` pages from `first` on out of a free range that has them.
    fn cut(&mut self, id: Id, first: u64, pages: u64) -> Result<Taken, Unmet> {
        let entry = *self.get(id).ok_or(Unmet::NoRoom)?;
        let below = first.wrapping_sub(entry.first);
        let above = entry.pages.wrapping_sub(below).wrapping_sub(pages);
        let needed = usize::from(below != 0).saturating_add(usize::from(above != 0));
        if self.spare() < needed {
            return Err(Unmet::NoEntry);
        }
        let taken = if below == 0 {
            self.unlink(id);
            if let Some(entry) = self.get_mut(id) {
                entry.pages = pages;
            }
            id
        } else {
            self.resize(id, below);
            self.insert(id, first, pages, entry.zone).ok_or(Unmet::NoEntry)?
        };
        if above != 0 {
            let rest = self.insert(taken, first.wrapping_add(pages), above, entry.zone);
            self.link(rest.ok_or(Unmet::NoEntry)?);
        }
        self.free_pages = self.free_pages.saturating_sub(pages);
        Ok(Taken { first, id: taken })
    }
}
