//! What a frame is, to its owner and to a device.

use pviommu_abi::DomId;

/// What a RAM frame is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// Ordinary memory of its owner.
    Ram,
    /// A page table of its owner: devices may read it, never write it (INV-23).
    GuestTable,
    /// Memory of the hypervisor itself: not for devices.
    Hypervisor,
    /// Nobody's.
    Free,
}

/// What a device finds at a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Device registers or firmware memory: no reference needed.
    Mmio,
    /// RAM that a reference holds.
    Held,
    /// RAM that no reference holds.
    NotHeld,
    /// A frame that was freed; or one of the table pool that is not allocated.
    Free,
    /// A scratch page: no reference needed.
    Scratch,
    /// Not memory a device may use: the hypervisor's, a page table, or nothing at all.
    Forbidden,
}

impl Reach {
    /// True if a device may be there.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Mmio | Self::Held | Self::Scratch)
    }
}

/// The record of a frame, for tests to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameInfo {
    /// Its owner; meaningless for a frame that is free.
    pub owner: DomId,
    /// What it is used for.
    pub kind: FrameKind,
    /// References held for devices.
    pub references: u32,
    /// It has left its owner, and will be free when nothing holds it any more.
    pub leaving: bool,
    /// False if nothing has happened to it: its owner is then who has it in its P2M.
    pub touched: bool,
}

/// A change of a frame was refused because references are held on it, or it is not such a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;
