//! What backs the guest frames of a domain: its own memory from 0 on, and registers of its devices.
//!
//! Memory is scrambled: what follows on in the guest never does in the machine, so that nothing works by
//! accident. Within a block it follows on, for those who want large leaves.

use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_hypervisor::{
    abi::Gfn,
    addr::{GfnRange, Mfn},
    platform::Access,
};
use spin::Mutex;

use crate::machine::frames::FREE;

/// How many frames follow on in guest and machine alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// One.
    Page = 1,
    /// Those of a leaf of 2 MiB.
    Large = 512,
    /// Those of a leaf of 1 GiB.
    Huge = 1 << 18,
}

/// What backs a guest frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backed {
    /// The frame.
    pub frame: Mfn,
    /// How many guest frames from here on are backed by the frames from there on, and alike.
    pub pages: u64,
    /// Registers of a device, and no memory.
    pub mmio: bool,
    /// What a device may do there at most; of registers that may be less than the guest may (MSI-X tables).
    pub access: Access,
}

/// Registers that a guest sees.
type Mmio = (GfnRange, Mfn, Access);

/// The table of a domain.
pub struct P2m {
    /// Of each guest frame one more than the machine's; 0: nothing backs it.
    memory: &'static [AtomicU64],
    mmio: Mutex<[Option<Mmio>; 16]>,
    /// Held by whoever looks something up and relies on it, and by whoever changes something.
    pub lock: Mutex<()>,
}

impl P2m {
    /// A table of `pages` pages of memory, a power of two and at least a block, in frames from `first` on.
    #[must_use]
    pub fn new(first: Mfn, pages: usize, block: Block) -> Self {
        let size = block as usize;
        let blocks = pages / size;
        // Three is prime to the number of blocks, so each is met once, and none after its neighbour.
        let frame =
            |gfn: usize| (3 * (gfn / size) + blocks / 2) % blocks.max(1) * size + gfn % size;
        let memory = FREE.place(pages, |gfn| AtomicU64::new(first.0 + frame(gfn) as u64 + 1));
        Self { memory, mmio: Mutex::new([None; 16]), lock: Mutex::new(()) }
    }

    /// How many guest frames can be memory.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.memory.len() as u64
    }

    fn entry(&self, gfn: Gfn) -> Option<&AtomicU64> {
        self.memory.get(usize::try_from(gfn.0).ok()?)
    }

    /// The frame of memory behind `gfn`.
    #[must_use]
    pub fn frame(&self, gfn: Gfn) -> Option<Mfn> {
        self.entry(gfn)?.load(Ordering::Acquire).checked_sub(1).map(Mfn)
    }

    /// What backs `gfn`, and the guest frames after it, at most `most`.
    #[must_use]
    pub fn lookup(&self, gfn: Gfn, most: u64) -> Option<Backed> {
        if let Some(frame) = self.frame(gfn) {
            let follows =
                |ahead: &u64| self.frame(Gfn(gfn.0 + ahead)) == Some(Mfn(frame.0 + ahead));
            let pages = (1..most).take_while(follows).last().map_or(1, |last| last + 1);
            return Some(Backed { frame, pages, mmio: false, access: Access::all() });
        }
        let mmio = self.mmio.lock();
        let (gfns, first, access) = mmio.iter().flatten().find(|(gfns, ..)| gfns.contains(gfn))?;
        let frame = Mfn(first.0 + (gfn.0 - gfns.first().0));
        let pages = most.min(gfns.last().0 - gfn.0 + 1);
        Some(Backed { frame, pages, mmio: true, access: *access })
    }

    /// Backs `gfn` by another frame, or by none; the one that was there. The caller holds the lock, and tells
    /// the service.
    pub fn set(&self, gfn: Gfn, frame: Option<Mfn>) -> Option<Mfn> {
        let word = frame.map_or(0, |frame| frame.0 + 1);
        self.entry(gfn)?.swap(word, Ordering::AcqRel).checked_sub(1).map(Mfn)
    }

    /// Shows registers from `first` on at `gfns`, which are not memory; false if there is no room.
    pub fn show(&self, gfns: GfnRange, first: Mfn, access: Access) -> bool {
        let mut mmio = self.mmio.lock();
        let place = mmio.iter_mut().find(|place| place.is_none());
        place.map(|place| *place = Some((gfns, first, access))).is_some()
    }
}
