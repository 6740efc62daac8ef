//! What an entry without a mapping says, level by level.
//!
//! With the background `Fault` it is not present. With `Scratch` it leads to the context's scratch
//! page, through tables that all vacant entries of a level share:
//!
//! ```text
//!            root          shared, level 2   shared, level 1   shared, level 0     scratch page
//!          ┌───────┐        ┌───────┐         ┌───────┐         ┌───────┐           ┌───────┐
//!  vacant ─┤   ────┼─┬────► │   ────┼──┬────► │   ────┼──┬────► │   ────┼─┬───────► │       │
//!  vacant ─┤   ────┼─┘      │   ────┼──┤      │   ────┼──┤      │   ────┼─┤         └───────┘
//!  mapped ─┤   ────┼──┐     │  ...  │  │      │  ...  │  │      │  ...  │ │
//!          └───────┘  │     └───────┘  │      └───────┘  │      └───────┘ │
//!                     └► private tables, whose vacant entries lead here, too
//! ```
//!
//! So it costs one page and one table a level, whatever the aperture. A shared table is never
//! written and never locked: a map replaces the entry that points to it by a private copy.
//!
//! An entry that is *not present* in a table with a scratch page is *blocked*: a reserved range, or
//! beyond the aperture. It is neither mapped nor vacant, and nobody maps over it.

use crate::{
    addr::Mfn,
    format::{Entry, Format, Leaf, LeafAttributes, LeafSoft, MAX_LEVELS, Origin, TableSoft},
    platform::Access,
    sync::{AtomicU64, Ordering},
};

/// The word of a vacant entry of each level. Set before the table is used, constant while it is.
#[derive(Debug, Default)]
pub struct Vacancy([AtomicU64; MAX_LEVELS]);

impl Vacancy {
    /// Vacant entries are not present.
    pub fn set_fault<F: Format>(&self) {
        for word in &self.0 {
            word.store(F::EMPTY, Ordering::Relaxed);
        }
    }

    /// Vacant entries lead to `page`, through the `shared` tables of level 0 and up.
    pub fn set_scratch<F: Format>(&self, page: Mfn, shared: &[Mfn], attributes: LeafAttributes) {
        let soft = LeafSoft::new(Origin::Initial);
        let leaf = Leaf { frame: page, access: Access::READ | Access::WRITE, soft };
        let tables =
            (1..).zip(shared).map(|(level, table)| F::table(*table, level, TableSoft::EMPTY));
        let words = core::iter::once(F::leaf(leaf, 0, attributes)).chain(tables);
        for (at, word) in self.0.iter().zip(words) {
            at.store(word, Ordering::Relaxed);
        }
    }

    /// The word of a vacant entry in a table of `level`.
    #[inline]
    #[must_use]
    pub fn word(&self, level: u8) -> u64 {
        self.0.get(usize::from(level)).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// That of a vacant entry of a leaf table.
    #[inline]
    #[must_use]
    pub fn leaf_word(&self) -> u64 {
        let [word, ..] = &self.0;
        word.load(Ordering::Relaxed)
    }

    /// The scratch page, if there is one.
    #[must_use]
    pub fn page<F: Format>(&self) -> Option<Mfn> {
        match F::decode(self.word(0), 0) {
            Entry::Leaf(leaf) => Some(leaf.frame),
            Entry::Empty | Entry::Table(_) => None,
        }
    }

    /// The shared tables, from level 0 up.
    pub fn shared<F: Format>(&self) -> impl Iterator<Item = Mfn> {
        (1..=u8::MAX).zip(self.0.iter().skip(1)).map_while(|(level, word)| {
            match F::decode(word.load(Ordering::Relaxed), level) {
                Entry::Table(table) => Some(table),
                Entry::Empty | Entry::Leaf(_) => None,
            }
        })
    }
}
