//! What the service notes about a mapping in the bits of its entry that hardware ignores.
//!
//! A unit does not look at them; the machine does, to know by what right a device is where it is.
//! Bits 58:52 of a VT-d entry, of a leaf:
//!
//! | bit | meaning |
//! |---|---|
//! | 53:52 | who made it: 0 the initial map, 1 the hypervisor, 2 the guest, 3 a reserved range |
//! | 54 | it holds a reference |
//! | 55 | of another domain's page |
//! | 56 | it is device registers |
//! | 57 | its split is paid for |

/// First of the bits.
const SHIFT: u32 = 52;

/// Who made a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Origin {
    /// The map a domain starts with; also what tells nothing, as tables made by hand.
    #[default]
    Initial,
    /// The hypervisor, which keeps it in step with the P2M.
    Maintained,
    /// The guest.
    Guest,
    /// A reserved range.
    Reserved,
}

/// The note of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Soft {
    /// Who made it.
    pub origin: Origin,
    /// It holds a reference on each page.
    pub referenced: bool,
}

impl Soft {
    /// The note in a leaf.
    #[must_use]
    pub const fn of(entry: u64) -> Self {
        let origin = match entry >> SHIFT & 3 {
            0 => Origin::Initial,
            1 => Origin::Maintained,
            2 => Origin::Guest,
            _ => Origin::Reserved,
        };
        Self { origin, referenced: entry >> (SHIFT + 2) & 1 == 1 }
    }

    /// The bits of an entry that say so.
    #[must_use]
    pub const fn bits(self) -> u64 {
        let origin = match self.origin {
            Origin::Initial => 0,
            Origin::Maintained => 1,
            Origin::Guest => 2,
            Origin::Reserved => 3,
        };
        (origin | (self.referenced as u64) << 2) << SHIFT
    }
}
