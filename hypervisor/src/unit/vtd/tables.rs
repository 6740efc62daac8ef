//! The root table of a unit, and a context table for each bus that has had a device.
//!
//! A bus without a context table is one whose devices are refused: its root entry is not present. Tables
//! come out of a pool that was lent, at the first need, and stay.

use crate::{
    platform::{SourceId, TABLE_ENTRIES, UnitMemory},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
    unit::vtd::entry::{self, Entry},
};

/// Root table and context tables.
pub(super) struct Tables<'m> {
    root: UnitMemory<'m>,
    pool: UnitMemory<'m>,
    /// How many tables of the pool are in use. Held while one is put in its place.
    used: Mutex<usize>,
}

/// How to come by a context table that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// There is nothing to do then.
    Leave,
    /// Put one there.
    Make,
    /// The same, but wait for nobody: it may be an interrupt.
    MakeAtOnce,
}

impl<'m> Tables<'m> {
    /// Tables in which nobody passes. `written` is called with what the unit must see.
    pub(super) fn new(
        root: UnitMemory<'m>,
        pool: UnitMemory<'m>,
        written: impl Fn(&[AtomicU64]),
    ) -> Self {
        clear(root.words());
        written(root.words());
        Self { root, pool, used: Mutex::new(0) }
    }

    /// Where the unit finds the root table.
    pub(super) fn root_address(&self) -> u64 {
        self.root.address()
    }

    /// Changes the entry of `source` in one store, and says what it was; `None` if it has none.
    pub(super) fn change(
        &self,
        source: SourceId,
        missing: Missing,
        written: impl Fn(&[AtomicU64]),
        change: impl Fn(Entry) -> Entry,
    ) -> Option<Entry> {
        let table = match (self.table_of(source.0.bus), missing) {
            (Some(table), _) => table,
            (None, Missing::Leave) => return None,
            (None, Missing::Make) => self.make(self.used.lock(), source.0.bus, &written)?,
            (None, Missing::MakeAtOnce) => {
                self.make(self.used.try_lock()?, source.0.bus, &written)?
            }
        };
        let number = usize::from(source.0.devfn);
        let old = table.change_pair(number, change);
        if let Some(words) = table.words().chunks_exact(2).nth(number) {
            written(words);
        }
        old
    }

    /// The context table of a bus.
    fn table_of(&self, bus: u8) -> Option<UnitMemory<'m>> {
        let address = entry::context_table(self.root.load(root_word(bus)))?;
        let bytes = TABLE_ENTRIES.checked_mul(size_of::<u64>())?;
        let offset = usize::try_from(address.checked_sub(self.pool.address())?).ok()?;
        self.pool.page(offset.checked_div(bytes)?)
    }

    /// Puts an empty one there, if there is any left.
    fn make(
        &self,
        mut used: MutexGuard<'_, usize>,
        bus: u8,
        written: &impl Fn(&[AtomicU64]),
    ) -> Option<UnitMemory<'m>> {
        // Somebody else may have been first.
        if let Some(table) = self.table_of(bus) {
            return Some(table);
        }
        let table = self.pool.page(*used)?;
        *used = used.saturating_add(1);
        clear(table.words());
        written(table.words());
        // INV-02: only now is there anything that leads to it. The entry's other half stays zero.
        let word = root_word(bus);
        self.root.store(word, entry::root(table.address()));
        if let Some(words) = self.root.words().chunks_exact(2).nth(usize::from(bus)) {
            written(words);
        }
        Some(table)
    }
}

/// The low word of the root entry of a bus.
fn root_word(bus: u8) -> usize {
    usize::from(bus).saturating_mul(2)
}

fn clear(words: &[AtomicU64]) {
    for word in words {
        word.store(0, Ordering::Release);
    }
}
