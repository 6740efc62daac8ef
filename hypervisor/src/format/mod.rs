//! Page-table entries as bits: what a 64-bit word means to a unit, and nothing else.
//!
//! No memory is touched here, nothing is allocated and nothing is decided. A format maps the
//! words of its specification to ours:
//!
//! | word | meaning |
//! |---|---|
//! | level 0 | the tables whose entries are 4 KiB leaves; the top table has level `levels - 1` |
//! | leaf | an entry that ends the walk; at level 1 it maps 2 MiB, at level 2 1 GiB |
//! | table entry | an entry that points to a table one level down |
//! | soft bits | seven bits of a present entry that hardware ignores |
//!
//! The soft bits are the service's only record of a mapping ([`LeafSoft`], [`TableSoft`]), so
//! that nothing can disagree with what the device sees.

#[cfg(feature = "amdvi")]
mod amd_v1;
mod kind;
mod soft;
#[cfg(feature = "vtd")]
mod vtd_second_stage;

#[cfg(feature = "amdvi")]
pub use amd_v1::AmdV1;
pub use kind::FormatKind;
#[cfg(not(all(feature = "vtd", feature = "amdvi")))]
pub(crate) use kind::Only;
pub(crate) use kind::with_format;
pub use soft::{LeafSoft, Origin, SOFT_BITS, TableSoft, WITNESS_ENTRIES};
#[cfg(feature = "vtd")]
pub use vtd_second_stage::VtdSecondStage;

use crate::{addr::Mfn, platform::Access};

/// A leaf entry, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// First frame it maps.
    pub frame: Mfn,
    /// What a device may do there.
    pub access: Access,
    /// The service's record of the mapping.
    pub soft: LeafSoft,
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Not present: the unit stops here, with a fault.
    Empty,
    /// Points to a table one level down.
    Table(Mfn),
    /// Maps a page of the size of its level.
    Leaf(Leaf),
}

bitflags::bitflags! {
    /// What leaves of a table carry besides frame and access, for the units it serves.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LeafAttributes: u8 {
        /// Snooping is enforced.
        const SNOOP = 1 << 0;
    }
}

/// One hardware page-table format.
///
/// Encoding and decoding agree: what [`leaf`](Self::leaf) and [`table`](Self::table) encode,
/// [`decode`](Self::decode) gives back, and decoding any word does not panic.
pub trait Format {
    /// Number of address bits that index one table.
    const INDEX_BITS: u32;
    /// What to add to a 4 KiB leaf for one that maps the next frame and is else the same.
    const NEXT_FRAME: u64;
    /// The word of an entry that is not present.
    const EMPTY: u64;

    /// True if a unit would go on with this entry, at any level.
    fn is_present(raw: u64) -> bool;

    /// What the word says in a table of `level`; empty also if it is present and none of those that
    /// are encoded here.
    fn decode(raw: u64, level: u8) -> Entry;

    /// The table that a word of `level` (1 or above) points to, by as few instructions as that takes. `None` of a word
    /// that [`table`](Self::table) did not make, and so says nothing of it.
    #[inline]
    fn table_below(raw: u64, level: u8) -> Option<Mfn> {
        match Self::decode(raw, level) {
            Entry::Table(table) => Some(table),
            Entry::Empty | Entry::Leaf(_) => None,
        }
    }

    /// The word of a leaf in a table of `level`. `leaf.access` must not be empty: such an entry
    /// does not exist.
    fn leaf(leaf: Leaf, level: u8, attributes: LeafAttributes) -> u64;

    /// The word of an entry in a table of `level` (1 or above) that points to `table`.
    fn table(table: Mfn, level: u8, soft: TableSoft) -> u64;

    /// The soft bits of a present entry.
    fn soft(raw: u64) -> u8;

    /// The same entry with other soft bits.
    fn with_soft(raw: u64, soft: u8) -> u64;

    /// The attributes of a leaf.
    fn attributes(raw: u64) -> LeafAttributes;
}

/// Most levels of a table.
pub const MAX_LEVELS: usize = 5;

/// Number of 4 KiB pages that an entry in a table of `level` stands for.
#[must_use]
pub fn pages_at<F: Format>(level: u8) -> u64 {
    1u64.checked_shl(F::INDEX_BITS.saturating_mul(u32::from(level))).unwrap_or(u64::MAX)
}
