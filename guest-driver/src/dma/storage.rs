//! The memory that a space works in, lent by whoever makes it.

use pviommu_abi::Gfn;
use spin::Mutex;

use super::queue::Waiting;
use crate::batch::BatchPage;
use crate::bfn::BfnStorage;

/// Frames that one list of a batch can have.
const LIST: usize = 508;

/// Room for one [`DmaSpace`](super::DmaSpace): for `RANGES` ranges of bus frames that are in use,
/// reserved or free between others, and calls of `CPUS` CPUs at a time. It may be a static. Takes
/// about 40 bytes for a range, and 23 KiB for a CPU.
#[derive(Debug)]
pub struct DmaStorage<const RANGES: usize, const CPUS: usize> {
    pub(super) bfns: BfnStorage<RANGES, CPUS>,
    pub(super) rooms: [Mutex<Room>; CPUS],
    pub(super) waiting: Waiting,
}

/// What one call is written in.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) page: BatchPage,
    pub(super) frames: [Gfn; LIST],
}

impl<const RANGES: usize, const CPUS: usize> DmaStorage<RANGES, CPUS> {
    /// Room that nobody uses yet.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(CPUS > 0, "somebody has to run") };
        let rooms =
            [const { Mutex::new(Room { page: BatchPage::new(), frames: [Gfn(0); LIST] }) }; CPUS];
        Self { bfns: BfnStorage::new(), rooms, waiting: Waiting::new() }
    }
}

impl<const RANGES: usize, const CPUS: usize> Default for DmaStorage<RANGES, CPUS> {
    fn default() -> Self {
        Self::new()
    }
}
