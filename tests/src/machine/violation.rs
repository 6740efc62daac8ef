//! What must never happen, as the machine saw it happen.

mod list;

use std::fmt;

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{ForeignHandle, Tag, UnitId},
};

use super::frames::Reach;
use crate::iommu::{Direction, amdvi::Words};

pub use list::Violations;

/// One thing that must never happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Violation {
    /// A device was translated to a frame that it must not reach (INV-03, INV-20, INV-23). The
    /// access was not carried out.
    Access {
        /// Unit that translated.
        unit: UnitId,
        /// Function that asked.
        device: PciDevice,
        /// Bus address, in bytes.
        address: u64,
        /// Frame it was translated to.
        frame: Mfn,
        /// What that frame is.
        reach: Reach,
    },
    /// A write that a unit had let through arrived when its frame had been given up (INV-20). It
    /// was not carried out.
    LateWrite {
        /// Unit that translated it.
        unit: UnitId,
        /// Function that wrote.
        device: PciDevice,
        /// Bus address, in bytes.
        address: u64,
        /// Frame it was translated to.
        frame: Mfn,
        /// What that frame is now.
        reach: Reach,
    },
    /// A walk read a table frame that is free (INV-07).
    WalkedFreeTable {
        /// Unit that walked.
        unit: UnitId,
        /// Tag it walked for.
        tag: Tag,
        /// Bus address, in bytes.
        address: u64,
        /// The free frame.
        frame: Mfn,
    },
    /// A walk met an entry with reserved bits set.
    ReservedBits {
        /// Unit that walked.
        unit: UnitId,
        /// Bus address, in bytes.
        address: u64,
        /// Level of the table that holds the entry; 1 is the leaf level.
        level: u8,
        /// The entry as read.
        entry: u64,
    },
    /// A walk met an entry that is not present and yet not empty: there are AMD-Vi units that translate
    /// by it.
    LeftBehind {
        /// Unit that walked.
        unit: UnitId,
        /// Bus address, in bytes.
        address: u64,
        /// Level of the table that holds the entry; 1 is the leaf level.
        level: u8,
        /// The entry as read.
        entry: u64,
    },
    /// A page had lost its last reference when the flush of its translation began (INV-20).
    ReleasedBeforeFlush {
        /// Unit that was told to flush.
        unit: UnitId,
        /// Tag the translation was cached under.
        tag: Tag,
        /// Bus frame number of the translation.
        bfn: u64,
        /// The page.
        frame: Mfn,
    },
    /// A table was free when the flush of what led to it began (INV-07).
    TableFreedBeforeFlush {
        /// Unit that was told to flush.
        unit: UnitId,
        /// Tag the walk was cached under.
        tag: Tag,
        /// The table.
        frame: Mfn,
    },
    /// The last reference of a page was given back while a unit still had it cached (INV-20).
    ReleasedWhileCached {
        /// Unit that has it.
        unit: UnitId,
        /// The page.
        frame: Mfn,
    },
    /// A table was freed while a paging-structure cache or a device entry named it (INV-07).
    TableFreedWhileNamed {
        /// Unit that names it.
        unit: UnitId,
        /// The table.
        frame: Mfn,
    },
    /// A walk came to a scratch page as if it were a table.
    WalkedScratch {
        /// Unit that walked.
        unit: UnitId,
        /// Tag it walked for.
        tag: Tag,
        /// Bus address, in bytes.
        address: u64,
        /// The scratch page.
        frame: Mfn,
    },
    /// A device was translated to the scratch page of a domain that does not have the device.
    /// The access was not carried out.
    ScratchOfAnother {
        /// Unit that translated.
        unit: UnitId,
        /// Function that asked.
        device: PciDevice,
        /// Bus address, in bytes.
        address: u64,
        /// The scratch page.
        frame: Mfn,
        /// The domain it was allocated for.
        owner: DomId,
    },
    /// Two tables lead to one scratch page, which is one context's alone. The access was not
    /// carried out.
    ScratchUnderTwoRoots {
        /// Unit that translated by the second.
        unit: UnitId,
        /// The scratch page.
        frame: Mfn,
        /// Frame of the root that led there first.
        first: Mfn,
        /// Frame of the other.
        second: Mfn,
    },
    /// A scratch page was freed while a unit still had it cached.
    ScratchFreedWhileCached {
        /// Unit that has it.
        unit: UnitId,
        /// The scratch page.
        frame: Mfn,
    },
    /// A scratch page was freed while the table of a device still led to it.
    ScratchFreedWhileReachable {
        /// Unit of the device.
        unit: UnitId,
        /// The scratch page.
        frame: Mfn,
    },
    /// A device entry has the unit pass requests as they are, or did so when the device made one; that
    /// was not carried out.
    Untranslated {
        /// Unit of the entry.
        unit: UnitId,
        /// Function of the entry.
        device: PciDevice,
    },
    /// A device entry is one that no unit takes (AMD: ILLEGAL_DEV_TABLE_ENTRY).
    IllegalDeviceEntry {
        /// Unit of the entry.
        unit: UnitId,
        /// Function of the entry.
        device: PciDevice,
        /// The entry as written.
        entry: Words,
    },
    /// A unit was given a command that it does not take (AMD: ILLEGAL_COMMAND_ERROR), and has not
    /// carried it out.
    IllegalCommand {
        /// The unit.
        unit: UnitId,
        /// The command.
        command: Words,
    },
    /// Two device entries of a unit have one tag and different roots or rights.
    TagWithTwoRoots {
        /// Unit of both entries.
        unit: UnitId,
        /// Their tag.
        tag: Tag,
    },
    /// A tag got a new root while translations of its former one were cached (INV-10).
    TagReusedBeforeFlush {
        /// Unit that has them.
        unit: UnitId,
        /// The tag.
        tag: Tag,
    },
    /// A device entry has a tag the unit does not tell apart, or tag 0.
    BadTag {
        /// Unit of the entry.
        unit: UnitId,
        /// The tag.
        tag: Tag,
    },
    /// A device entry names a root that is no table, or levels the unit cannot walk (INV-08).
    BadRoot {
        /// Unit of the entry.
        unit: UnitId,
        /// Frame of the root.
        frame: Mfn,
        /// Levels asked for.
        levels: u8,
    },
    /// A reference was given back that was not held, or not for the same access (INV-21).
    ReleaseWithoutReference {
        /// Who gave it back.
        domain: DomId,
        /// The page.
        frame: Mfn,
    },
    /// A grant or a foreign mapping was released that the domain has not pinned, or that is of
    /// another page (INV-21).
    BadForeign {
        /// Who gave it back.
        domain: DomId,
        /// What is named.
        handle: ForeignHandle,
        /// The page that was given back with it.
        frame: Mfn,
    },
    /// A device could not use its direct range as it has to at any time (INV-31). Told once a device.
    DirectRangeMissing {
        /// Its unit.
        unit: UnitId,
        /// What its request is known by.
        device: PciDevice,
        /// Bus address, in bytes.
        address: u64,
        /// What it wants there.
        direction: Direction,
    },
    /// A table frame was freed that is not allocated, or is charged to another domain.
    BadTableFree {
        /// Who freed it.
        domain: DomId,
        /// The frame.
        frame: Mfn,
    },
    /// A free table frame was looked up.
    FreeTableLookup {
        /// The frame.
        frame: Mfn,
    },
    /// More was taken from a domain's reserve of table frames than was put there.
    ReserveUnderflow {
        /// The domain.
        domain: DomId,
    },
    /// A unit was named that the machine does not have.
    NoSuchUnit {
        /// Its number.
        unit: UnitId,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variant's name and fields read well enough; a table of sentences would only repeat
        // the docs above.
        fmt::Debug::fmt(self, f)
    }
}
