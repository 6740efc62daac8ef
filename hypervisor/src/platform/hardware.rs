//! The IOMMU units: what they can do, and what they are asked to do.
#![expect(unsafe_code, reason = "the embedder vouches for its implementation")]

use pviommu_abi::PciDevice;

use crate::{
    addr::{BfnRange, Mfn},
    format::FormatKind,
};

/// One IOMMU of the machine: its place in the list of units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitId(pub u16);

/// The id under which a unit caches a context's translations (VT-d: domain id).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub u16);

/// The id a request carries on the bus. Functions are told apart by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceId(pub PciDevice);

/// What a unit must be able to walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableShape {
    /// The format of all entries.
    pub format: FormatKind,
    /// Number of levels a walk takes: 3, 4 or 5.
    pub levels: u8,
}

/// A page table as a device entry names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableRoot {
    /// The frame of the top table.
    pub frame: Mfn,
    /// Number of levels a walk takes from it.
    pub levels: u8,
}

bitflags::bitflags! {
    /// What a unit does, or needs to have done for it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct UnitFeatures: u16 {
        /// Page walks snoop CPU caches (VT-d: ECAP.C); without it tables are published.
        const COHERENT = 1 << 0;
        /// Entries that are not present may be cached too (VT-d: CAP.CM; AMD: NpCache).
        const CACHES_NOT_PRESENT = 1 << 1;
        /// Its write buffer must be flushed when a table changes (VT-d: CAP.RWBF).
        const WRITE_BUFFER = 1 << 2;
        /// Leaves can force snooping (VT-d: ECAP.SC; AMD: every unit).
        const SNOOP_CONTROL = 1 << 3;
        /// 2 MiB leaves (VT-d: CAP.SLLPS bit 0; AMD: every unit).
        const LEAF_2M = 1 << 4;
        /// 1 GiB leaves (VT-d: CAP.SLLPS bit 1; AMD: every unit).
        const LEAF_1G = 1 << 5;
        /// Tables of 3 levels, 39 bits (VT-d: CAP.SAGAW bit 1; AMD: every unit).
        const LEVELS_3 = 1 << 8;
        /// Tables of 4 levels, 48 bits (VT-d: CAP.SAGAW bit 2; AMD: every unit).
        const LEVELS_4 = 1 << 9;
        /// Tables of 5 levels, 57 bits (VT-d: CAP.SAGAW bit 3; AMD: EFR.HATS of 1 or 2).
        const LEVELS_5 = 1 << 10;
    }
}

/// The capabilities of a unit, read once by whoever drives it. Facts, not policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitFacts {
    /// The format of the tables it walks.
    pub format: FormatKind,
    /// What it does and needs.
    pub features: UnitFeatures,
    /// Width of the addresses it accepts from devices, in bits (VT-d: MGAW; AMD: VASize).
    pub bus_address_bits: u8,
    /// Width of the addresses it puts out, in bits (VT-d: host address width; AMD: PASize).
    pub host_address_bits: u8,
    /// Number of tags it tells apart; tag 0 is not used.
    pub tags: u32,
}

impl UnitFacts {
    /// True if the unit can walk tables of this shape.
    #[must_use]
    pub fn walks(&self, shape: TableShape) -> bool {
        let depth = match shape.levels {
            3 => UnitFeatures::LEVELS_3,
            4 => UnitFeatures::LEVELS_4,
            5 => UnitFeatures::LEVELS_5,
            _ => return false,
        };
        self.format == shape.format && self.features.contains(depth)
    }
}

bitflags::bitflags! {
    /// What the embedder vouches for: a guest is told, and nothing is taken for granted without.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DeviceFacts: u32 {
        /// It can raise no interrupts but those it was given.
        const INTERRUPTS_ISOLATED = 1 << 0;
    }
}

/// What to forget: an argument of [`IommuHw::invalidate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Invalidation {
    /// Translations of these bus frames. Tables that led to them may stay cached, because no
    /// present entry above the leaves has changed (VT-d: IH = 1).
    Leaves(BfnRange),
    /// Translations of these bus frames and everything on the way to them (VT-d: IH = 0).
    Tables(BfnRange),
    /// All that is cached under the tag.
    Everything,
}

/// A unit did not do what it was asked in time, or reported an error it cannot recover from.
///
/// The whole unit has failed: its queue is shared and ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitError;

/// Why a device entry was not switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachError {
    /// Nothing has changed: there is no room for the entry.
    Refused,
    /// The unit has failed: which of the two entries is in force is unknown.
    Failed,
}

impl From<UnitError> for AttachError {
    fn from(_: UnitError) -> Self {
        Self::Failed
    }
}

/// The IOMMUs.
///
/// # Safety
///
/// The implementer promises that when a method returns `Ok`, the change or invalidation is in
/// force in the unit and every DMA that used what was there before has drained (INV-03, INV-11);
/// and that no unit lets a device through that was never given a table.
///
/// Calls for one device are not concurrent; all others may be.
pub unsafe trait IommuHw {
    /// Points the device entry of `source` at `root` under `tag`, in one atomic step, whatever it
    /// was before, and forgets the cached entry. Does not invalidate the former tag.
    ///
    /// # Errors
    /// [`AttachError`] says which entry is in force.
    fn attach(
        &self,
        unit: UnitId,
        source: SourceId,
        root: TableRoot,
        tag: Tag,
    ) -> Result<(), AttachError>;

    /// Makes the device entry of `source` refuse all DMA and forgets the cached entry. Does not
    /// invalidate the former tag.
    ///
    /// # Errors
    /// [`UnitError`]: the device may still reach what it could before.
    fn block(&self, unit: UnitId, source: SourceId) -> Result<(), UnitError>;

    /// Forgets translations cached under `tag`, drains, and waits (bounded) until it is done.
    ///
    /// The service asks for one range at a time, and between two looks at
    /// [`should_yield`](super::Preempt::should_yield) for a few at most: so the longest that a call holds a
    /// unit's queue is what this takes once.
    ///
    /// # Errors
    /// [`UnitError`]: anything may still be cached.
    fn invalidate(&self, unit: UnitId, tag: Tag, what: Invalidation) -> Result<(), UnitError>;

    /// Makes entries of `range` that turned from not present to present visible to the unit; also ones
    /// above the leaves.
    ///
    /// Called for units with [`UnitFeatures::CACHES_NOT_PRESENT`] or
    /// [`UnitFeatures::WRITE_BUFFER`] only.
    ///
    /// # Errors
    /// [`UnitError`]: the device may not see the new entries.
    fn sync_map(&self, unit: UnitId, tag: Tag, range: BfnRange) -> Result<(), UnitError>;

    /// Stops the device behind `source`: it does no DMA, and no fault of it is recorded any more, whatever
    /// its entry says from now on (VT-d: FPD; AMD: SE and SA; and bus mastering off).
    ///
    /// Called from [`Iommu::report_fault`](crate::Iommu::report_fault), so perhaps in an interrupt, and
    /// while any other method runs, also for the same device; and from
    /// [`Iommu::group_changed`](crate::Iommu::group_changed), for a device that could reach another's.
    fn stop(&self, unit: UnitId, source: SourceId);

    /// Undoes [`stop`](Self::stop), after the device was reset.
    fn restart(&self, unit: UnitId, source: SourceId);

    /// Told once when the service gives up on a unit: nothing behind it is edited any more.
    fn unit_failed(&self, unit: UnitId) {
        let _ = unit;
    }
}
