//! What the service notes about a mapping in the bits of its entry that hardware ignores.
//!
//! A unit does not look at them; the machine does, to know by what right a device is where it is.
//! Seven bits, of a leaf:
//!
//! | bit | VT-d | AMD | meaning |
//! |---|---|---|---|
//! | 1:0 | 53:52 | 2:1 | who made it: 0 the initial map, 1 the hypervisor, 2 the guest, 3 a reserved range |
//! | 2 | 54 | 3 | it holds a reference |
//! | 3 | 55 | 4 | of another domain's page |
//! | 4 | 56 | 7 | it is device registers |
//! | 5 | 57 | 8 | its split is paid for |
//! | 6 | 58 | 63 | |

use pviommu_hypervisor::format::FormatKind;

/// Where the bits stand in an entry: how many, from which one on, least significant ones first.
const fn fields(format: FormatKind) -> &'static [(u32, u32)] {
    match format {
        FormatKind::AmdV1 => &[(4, 1), (2, 7), (1, 63)],
        FormatKind::VtdSecondStage => &[(7, 52)],
    }
}

/// The seven bits of an entry.
#[must_use]
pub fn note(format: FormatKind, entry: u64) -> u8 {
    let mut from = 0;
    let mut note = 0;
    for (count, at) in fields(format) {
        note |= (entry >> at & ((1 << count) - 1)) << from;
        from += count;
    }
    // There are seven.
    note as u8
}

/// An empty entry with these seven bits.
#[must_use]
pub fn with_note(format: FormatKind, note: u8) -> u64 {
    let mut rest = u64::from(note);
    let mut entry = 0;
    for (count, at) in fields(format) {
        entry |= (rest & ((1 << count) - 1)) << at;
        rest >>= count;
    }
    entry
}

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
    pub fn of(format: FormatKind, entry: u64) -> Self {
        let note = note(format, entry);
        let origin = match note & 3 {
            0 => Origin::Initial,
            1 => Origin::Maintained,
            2 => Origin::Guest,
            _ => Origin::Reserved,
        };
        Self { origin, referenced: note >> 2 & 1 == 1 }
    }

    /// The bits of an entry that say so.
    #[must_use]
    pub fn bits(self, format: FormatKind) -> u64 {
        let origin = match self.origin {
            Origin::Initial => 0,
            Origin::Maintained => 1,
            Origin::Guest => 2,
            Origin::Reserved => 3,
        };
        with_note(format, origin | u8::from(self.referenced) << 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together by hand.
    #[test]
    fn each_bit_stands_where_hardware_ignores_it() {
        let vtd = [52, 53, 54, 55, 56, 57, 58];
        let amd = [1, 2, 3, 4, 7, 8, 63];
        for (format, places) in [(FormatKind::VtdSecondStage, vtd), (FormatKind::AmdV1, amd)] {
            for (bit, place) in places.into_iter().enumerate() {
                assert_eq!(with_note(format, 1 << bit), 1 << place, "{format:?}");
                assert_eq!(note(format, 1 << place), 1 << bit, "{format:?}");
            }
            let all = places.iter().fold(0, |all, place| all | 1_u64 << place);
            assert_eq!(note(format, !all), 0, "{format:?}");
            let soft = Soft { origin: Origin::Guest, referenced: true };
            assert_eq!(Soft::of(format, soft.bits(format)), soft);
        }
    }
}
