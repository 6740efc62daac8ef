//! The service's record of a mapping, in seven bits that hardware ignores.
//!
//! Seven is what the poorest format has to spare (AMD: bits 4:1, 8:7 and 63).
//!
//! ```text
//!            6        5           4       3         2            1..0
//!  leaf      -        split paid  MMIO    foreign   referenced   origin
//!  table     locked   occupied    witness granule of the leaf table (4..0)
//!  above     locked   -           1 if it is kept
//! ```

/// Number of soft bits of an entry.
pub const SOFT_BITS: u32 = 7;

/// Who made a mapping, and so who may change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The map a domain starts with.
    Initial,
    /// The hypervisor, which keeps it in step with the P2M.
    Maintained,
    /// The guest.
    Guest,
    /// A reserved range.
    Reserved,
}

/// What is recorded about a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafSoft(u8);

impl LeafSoft {
    const REFERENCED: u8 = 1 << 2;
    const FOREIGN: u8 = 1 << 3;
    const MMIO: u8 = 1 << 4;
    const SPLIT_PAID: u8 = 1 << 5;

    /// A mapping made by `origin`, nothing else.
    #[must_use]
    pub const fn new(origin: Origin) -> Self {
        Self(match origin {
            Origin::Initial => 0,
            Origin::Maintained => 1,
            Origin::Guest => 2,
            Origin::Reserved => 3,
        })
    }

    /// The record in the low seven bits; the eighth is ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x3f)
    }

    /// The record as bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Who made it.
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self.0 & 3 {
            0 => Origin::Initial,
            1 => Origin::Maintained,
            2 => Origin::Guest,
            _ => Origin::Reserved,
        }
    }

    /// It holds a reference on each page it maps.
    #[must_use]
    pub const fn referenced(self) -> bool {
        self.0 & Self::REFERENCED != 0
    }

    /// The reference belongs to a foreign or granted page.
    #[must_use]
    pub const fn foreign(self) -> bool {
        self.0 & Self::FOREIGN != 0
    }

    /// It maps device registers.
    #[must_use]
    pub const fn mmio(self) -> bool {
        self.0 & Self::MMIO != 0
    }

    /// The tables that splitting it takes are reserved.
    #[must_use]
    pub const fn split_paid(self) -> bool {
        self.0 & Self::SPLIT_PAID != 0
    }

    /// The same, holding a reference.
    #[must_use]
    pub const fn with_reference(self) -> Self {
        Self(self.0 | Self::REFERENCED)
    }

    /// The same, of another domain's memory.
    #[must_use]
    pub const fn with_foreign(self) -> Self {
        Self(self.0 | Self::FOREIGN)
    }

    /// The same, of device registers.
    #[must_use]
    pub const fn with_mmio(self) -> Self {
        Self(self.0 | Self::MMIO)
    }

    /// The same, with its split paid for or not.
    #[must_use]
    pub const fn with_split_paid(self, paid: bool) -> Self {
        if paid { Self(self.0 | Self::SPLIT_PAID) } else { Self(self.0 & !Self::SPLIT_PAID) }
    }
}

/// Entries of a leaf table that one witness stands for.
pub const WITNESS_ENTRIES: usize = 16;

/// What is recorded about a leaf table, in the entry that points to it.
///
/// *Occupied* means that an entry of the witness granule is present. So whether an unmap emptied
/// the table is known without a count, which two writers would fight for and seven bits could
/// not hold: only when the witness itself goes is another one looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableSoft(u8);

impl TableSoft {
    const LOCKED: u8 = 1 << 6;
    const OCCUPIED: u8 = 1 << 5;
    const GRANULE: u8 = 0x1f;

    /// A table without present entries, not locked. Also a table above the leaf tables, unless it is kept.
    pub const EMPTY: Self = Self(0);

    /// A table above the leaf tables that is kept, although it may be without entries.
    pub const KEPT: Self = Self(1);

    /// A table with a present entry near `index`.
    #[must_use]
    pub fn occupied_at(index: usize) -> Self {
        let granule = u8::try_from((index / WITNESS_ENTRIES) & usize::from(Self::GRANULE));
        Self(Self::OCCUPIED | granule.unwrap_or(0))
    }

    /// The record in the low seven bits; the eighth is ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x7f)
    }

    /// The record as bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// It is [`KEPT`](Self::KEPT), locked or not. Says nothing of a leaf table.
    #[must_use]
    pub const fn kept(self) -> bool {
        self.0 & !Self::LOCKED == Self::KEPT.0
    }

    /// A CPU is changing the table.
    #[must_use]
    pub const fn locked(self) -> bool {
        self.0 & Self::LOCKED != 0
    }

    /// The same, locked.
    #[must_use]
    pub const fn lock(self) -> Self {
        Self(self.0 | Self::LOCKED)
    }

    /// The first entry of the granule with a present entry, or `None` if the table is empty.
    #[must_use]
    pub fn witness(self) -> Option<usize> {
        (self.0 & Self::OCCUPIED != 0)
            .then(|| usize::from(self.0 & Self::GRANULE).wrapping_mul(WITNESS_ENTRIES))
    }
}
