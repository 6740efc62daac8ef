//! Giving back: a range becomes one with its free neighbours.

#![forbid(unsafe_code)]

use super::{Depot, Entry, Id, State};

impl Depot<[Entry]> {
    /// Frees a range that was taken.
    pub(in crate::bfn) fn give(&mut self, id: Id) {
        let Some(&Entry { pages, before, after, zone, state: State::Out, .. }) = self.get(id)
        else {
            return;
        };
        self.free_pages = self.free_pages.saturating_add(pages);
        let after_pages = self.joins(after, zone);
        let before_pages = self.joins(before, zone);
        let mut pages = pages;
        if let Some(more) = after_pages {
            self.unlink(after);
            self.remove(after);
            pages = pages.saturating_add(more);
        }
        if let Some(more) = before_pages {
            self.remove(id);
            self.resize(before, pages.saturating_add(more));
            return;
        }
        if let Some(entry) = self.get_mut(id) {
            entry.pages = pages;
        }
        self.link(id);
    }

    /// The pages of a neighbour that a range of this zone can become one with.
    fn joins(&self, neighbour: Id, zone: u8) -> Option<u64> {
        let entry = self.get(neighbour)?;
        (entry.state == State::Free && entry.zone == zone).then_some(entry.pages)
    }
}
