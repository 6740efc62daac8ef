//! Sorted lists in memory that is lent, for [`Firmware`](crate::topology::Firmware).

use core::fmt;

#[cfg(feature = "amdvi")]
use crate::topology::IdAlias;
use crate::{sort::sort_by_key, topology::DirectRange};

/// There is no room for all entries of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom {
    /// How many there are.
    pub needed: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room for {} entries is needed", self.needed)
    }
}

impl core::error::Error for NoRoom {}

/// A list that is being made.
pub(super) struct List<'r, T> {
    room: &'r mut [T],
    count: usize,
}

impl<'r, T> List<'r, T> {
    pub(super) fn new(room: &'r mut [T]) -> Self {
        Self { room, count: 0 }
    }

    /// Puts `item` behind the others, or counts it if there is no room.
    pub(super) fn push(&mut self, item: T) {
        if let Some(place) = self.room.get_mut(self.count) {
            *place = item;
        }
        self.count = self.count.saturating_add(1);
    }

    fn sorted(self, key: impl Fn(&T) -> u64) -> Result<&'r [T], NoRoom> {
        let Self { room, count } = self;
        let items = room.get_mut(..count).ok_or(NoRoom { needed: count })?;
        sort_by_key(items, key);
        Ok(items)
    }
}

impl<'r> List<'r, DirectRange> {
    /// In ascending order of where the ranges begin.
    pub(super) fn finish(self) -> Result<&'r [DirectRange], NoRoom> {
        self.sorted(|range| range.bytes.first)
    }
}

#[cfg(feature = "amdvi")]
impl<'r> List<'r, IdAlias> {
    /// In ascending order of ids.
    pub(super) fn finish(self) -> Result<&'r [IdAlias], NoRoom> {
        self.sorted(|alias| u64::from(alias.id.0.sbdf()))
    }
}
