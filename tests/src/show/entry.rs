//! What a leaf says besides its frame: who made the mapping, and of what.
//!
//! The service keeps its record in seven bits of an entry that hardware ignores. They are decoded
//! here once more, so that a picture does not believe the code that wrote them; the source is
//! the layout in `hypervisor/src/format/soft.rs`, and where they stand tells [`soft`].
//!
//! | bits | of a leaf |
//! |---|---|
//! | 1:0 | origin: 0 initial, 1 maintained, 2 guest, 3 reserved |
//! | 2 | a reference is held on each page |
//! | 3 | the page is foreign or granted |
//! | 4 | device registers |

use pviommu_hypervisor::format::FormatKind;
use serde::Serialize;

use crate::iommu::{Rights, soft, walker};

/// Sizes of pages, in the order of the levels of their entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum PageSize {
    /// 4 KiB, level 1.
    #[serde(rename = "4K")]
    Small,
    /// 2 MiB, level 2.
    #[serde(rename = "2M")]
    Large,
    /// 1 GiB, level 3.
    #[serde(rename = "1G")]
    Huge,
}

impl PageSize {
    /// All, from small to huge.
    pub const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Huge];

    /// The size of a leaf at `level`.
    #[must_use]
    pub const fn of_level(level: u8) -> Option<Self> {
        match level {
            1 => Some(Self::Small),
            2 => Some(Self::Large),
            3 => Some(Self::Huge),
            _ => None,
        }
    }

    /// Bus frames in one page.
    #[must_use]
    pub const fn frames(self) -> u64 {
        match self {
            Self::Small => 1,
            Self::Large => 1 << 9,
            Self::Huge => 1 << 18,
        }
    }

    /// Its short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "4K",
            Self::Large => "2M",
            Self::Huge => "1G",
        }
    }
}

/// What a device may do with a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum Access {
    /// Read and write.
    #[serde(rename = "rw")]
    Both,
    /// Read.
    #[serde(rename = "r-")]
    Read,
    /// Write.
    #[serde(rename = "-w")]
    Write,
    /// Nothing: what the tables above permit and what the leaf permits have nothing in common.
    #[serde(rename = "--")]
    None,
}

impl Access {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Both, Self::Read, Self::Write, Self::None];

    /// What a walk permits.
    #[must_use]
    pub const fn of(rights: Rights) -> Self {
        match (rights.read, rights.write) {
            (true, true) => Self::Both,
            (true, false) => Self::Read,
            (false, true) => Self::Write,
            (false, false) => Self::None,
        }
    }

    /// Its short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "rw",
            Self::Read => "r-",
            Self::Write => "-w",
            Self::None => "--",
        }
    }
}

/// Who made a mapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The map that a domain starts with.
    Initial,
    /// The hypervisor, which keeps it up to date.
    Maintained,
    /// The guest.
    Guest,
    /// A reserved range.
    Reserved,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Maintained, Self::Initial, Self::Reserved];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Maintained => "maintained",
            Self::Guest => "guest",
            Self::Reserved => "reserved",
        }
    }
}

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Memory of the domain.
    Memory,
    /// Memory of another domain.
    Foreign,
    /// Device registers.
    Registers,
}

/// What all pages of a range have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Page {
    /// The size of each.
    pub size: PageSize,
    /// What a device may do.
    pub access: Access,
    /// Who mapped them.
    pub origin: Origin,
    /// What they are.
    pub target: Target,
    /// References are held on them.
    pub referenced: bool,
    /// Snooping is forced, whatever a device asks for.
    pub snoop: bool,
}

impl Page {
    /// The leaf `entry`, found at a level whose pages have `size` by a walk that permits `rights`.
    #[must_use]
    pub fn decode(format: FormatKind, entry: u64, size: PageSize, rights: Rights) -> Self {
        let note = soft::note(format, entry);
        let bit = |bit: u32| note >> bit & 1 == 1;
        let origin = match note & 3 {
            0 => Origin::Initial,
            1 => Origin::Maintained,
            2 => Origin::Guest,
            _ => Origin::Reserved,
        };
        let target = match (bit(3), bit(4)) {
            (_, true) => Target::Registers,
            (true, _) => Target::Foreign,
            _ => Target::Memory,
        };
        let snoop = walker::snoops(format, entry);
        Self { size, access: Access::of(rights), origin, target, referenced: bit(2), snoop }
    }

    /// What is out of the ordinary about it, if anything is.
    #[must_use]
    pub const fn remark(&self) -> &'static str {
        match (self.target, self.referenced) {
            (Target::Registers, _) => "registers",
            (Target::Foreign, true) => "foreign",
            (Target::Foreign, false) => "foreign, no reference",
            (Target::Memory, true) => "",
            (Target::Memory, false) => "no reference",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [FormatKind; 2] = [FormatKind::VtdSecondStage, FormatKind::AmdV1];

    fn decode(format: FormatKind, note: u8) -> Page {
        Page::decode(format, soft::with_note(format, note), PageSize::Large, Rights::ALL)
    }

    #[test]
    fn the_origin_is_in_the_lowest_two_bits() {
        let origins = [Origin::Initial, Origin::Maintained, Origin::Guest, Origin::Reserved];
        for (note, origin) in (0..).zip(origins) {
            for page in FORMATS.map(|format| decode(format, note)) {
                assert_eq!((page.origin, page.access), (origin, Access::Both));
                assert_eq!(page.remark(), "no reference");
            }
        }
    }

    #[test]
    fn a_leaf_of_the_service_is_read_as_it_was_written() {
        // The golden words of the formats: a guest's mapping that holds a reference.
        let words = [
            (FormatKind::VtdSecondStage, 0x0060_0000_0123_4001, false),
            (FormatKind::VtdSecondStage, 0x0060_0000_0123_4801, true),
            (FormatKind::AmdV1, 0x2000_0000_0123_400d, false),
            (FormatKind::AmdV1, 0x3000_0000_0123_400d, true),
        ];
        let reads = Rights { read: true, write: false };
        for (format, word, snoop) in words {
            let page = Page::decode(format, word, PageSize::Small, reads);
            let expected = Page {
                size: PageSize::Small,
                access: Access::Read,
                origin: Origin::Guest,
                target: Target::Memory,
                referenced: true,
                snoop,
            };
            assert_eq!(page, expected);
            assert_eq!(page.remark(), "");
        }
    }

    #[test]
    fn registers_and_foreign_pages_are_told_apart() {
        for format in FORMATS {
            let target = |bit: u32| decode(format, 1 << bit).target;
            assert_eq!(target(3), Target::Foreign);
            assert_eq!(target(4), Target::Registers);
            assert_eq!(target(5), Target::Memory, "a paid split is no matter of the page");
        }
        let page = Page::decode(FORMATS[0], 1 << 63, PageSize::Small, Rights::ALL);
        assert_eq!(page.origin, Origin::Initial, "bits above 58 are not the service's");
    }
}
