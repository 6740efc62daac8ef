//! The table: entries in the order of addresses, and the lists of those that are free or unused.

#![forbid(unsafe_code)]

use super::free_lists::class_of;
use super::{Depot, Entry, Id, State};

impl Depot<[Entry]> {
    pub(super) fn get(&self, id: Id) -> Option<&Entry> {
        self.entries.get(id.index()?)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Entry> {
        self.entries.get_mut(id.index()?)
    }

    /// How many entries can be had.
    pub(super) fn spare(&self) -> usize {
        self.capacity().saturating_sub(self.fresh).saturating_add(self.unused_count)
    }

    /// An entry for a range that is handed out, behind `below` in the order of addresses. `zone` is
    /// that of its first frame.
    pub(super) fn insert(&mut self, below: Id, first: u64, pages: u64, zone: u8) -> Option<Id> {
        let id = self.unused_entry()?;
        let after = match self.get_mut(below) {
            Some(below) => core::mem::replace(&mut below.after, id),
            None => Id::NONE,
        };
        if let Some(after) = self.get_mut(after) {
            after.before = id;
        }
        let state = State::Out;
        let (previous, next) = (Id::NONE, Id::NONE);
        *self.get_mut(id)? =
            Entry { first, pages, before: below, after, previous, next, state, zone };
        Some(id)
    }

    /// Makes an entry unused. Its range is part of a neighbour's by now.
    pub(super) fn remove(&mut self, id: Id) {
        let unused = self.unused;
        let Some(entry) = self.get_mut(id) else { return };
        let Entry { before, after, .. } = *entry;
        *entry = Entry { next: unused, ..Entry::UNUSED };
        self.unused = id;
        self.unused_count = self.unused_count.saturating_add(1);
        if let Some(before) = self.get_mut(before) {
            before.after = after;
        }
        if let Some(after) = self.get_mut(after) {
            after.before = before;
        }
    }

    /// The entry that was used last, or one that never was.
    fn unused_entry(&mut self) -> Option<Id> {
        if let Some(next) = self.get(self.unused).map(|entry| entry.next) {
            let id = core::mem::replace(&mut self.unused, next);
            self.unused_count = self.unused_count.saturating_sub(1);
            return Some(id);
        }
        if self.fresh >= self.capacity() {
            return None;
        }
        self.fresh = self.fresh.saturating_add(1);
        Some(Id(self.fresh as u32))
    }

    /// Puts a range into the list of free ones of its size.
    pub(super) fn link(&mut self, id: Id) {
        let Some(entry) = self.get(id) else { return };
        let (zone, class) = (usize::from(entry.zone), class_of(entry.pages));
        let head = self.free.head(zone, class);
        if let Some(head) = self.get_mut(head) {
            head.previous = id;
        }
        if let Some(entry) = self.get_mut(id) {
            (entry.previous, entry.next, entry.state) = (Id::NONE, head, State::Free);
        }
        self.free.set_head(zone, class, id);
    }

    /// Takes a range out of its list.
    pub(super) fn unlink(&mut self, id: Id) {
        let Some(entry) = self.get_mut(id) else { return };
        entry.state = State::Out;
        let Entry { previous, next, zone, pages, .. } = *entry;
        if let Some(next) = self.get_mut(next) {
            next.previous = previous;
        }
        match self.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => self.free.set_head(usize::from(zone), class_of(pages), next),
        }
    }

    /// Changes the size of a free range, which is in the right list then.
    pub(super) fn resize(&mut self, id: Id, pages: u64) {
        let Some(old) = self.get(id).map(|entry| entry.pages) else { return };
        let moves = class_of(old) != class_of(pages);
        if moves {
            self.unlink(id);
        }
        if let Some(entry) = self.get_mut(id) {
            entry.pages = pages;
        }
        if moves {
            self.link(id);
        }
    }
}
