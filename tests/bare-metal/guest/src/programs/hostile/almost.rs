//! Calls that are almost right: they come as far as the tables, and go wrong there, or do not.
//!
//! Bus frames and contexts are few, so that they get in each other's way.

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, ElementFlags, Gfn, GuestPtr,
    MapFlags, MapPages, Subop, UnmapPages,
};
use zerocopy::{IntoBytes, transmute};

use super::{Attack, PLAYGROUND};
use crate::memory::PAGE;

/// Where in the playground the elements of a batch begin, in words: behind all arguments.
const ELEMENTS: u64 = (PLAYGROUND * PAGE / 8) as u64;
/// Most elements that are filled in.
const MOST: u64 = 64;

impl Attack {
    /// Puts the argument of such a call at the word `at`; which call it is.
    pub(super) fn almost(&mut self, at: u64) -> Subop {
        match self.chance.below(3) {
            0 => {
                let (gfn, dfn) = (self.frame(), self.bus_frame());
                let call = MapPages {
                    ctx_no: ContextId(self.context() as u16),
                    gfn: Gfn(gfn),
                    dfn: Bfn(dfn),
                    map_flags: MapFlags::from_bits_retain(self.chance.mostly([1, 2, 3, 3]) as u32),
                    pgsize: self.chance.mostly([0, 4096, 4096, 1 << 21]) as u32,
                    nr_pages: self.pages() as u32,
                    mapped: self.chance.mostly([0, 0, 1]) as u32,
                    ..MapPages::default()
                };
                self.put(at, call.as_bytes());
                Subop::MAP_PAGES
            }
            1 => {
                let dfn = self.bus_frame();
                let call = UnmapPages {
                    ctx_no: ContextId(self.context() as u16),
                    dfn: Bfn(dfn),
                    pgsize: self.chance.mostly([0, 4096]) as u32,
                    nr_pages: self.pages() as u32,
                    ..UnmapPages::default()
                };
                self.put(at, call.as_bytes());
                Subop::UNMAP_PAGES
            }
            _ => {
                self.batch(at);
                Subop::BATCH
            }
        }
    }

    fn batch(&mut self, at: u64) {
        let count = self.chance.below(MOST) + 1;
        for index in 0..count {
            let element = self.element();
            self.put(ELEMENTS + index * (size_of::<BatchElement>() as u64 / 8), element.as_bytes());
        }
        let call = Batch {
            flags: BatchFlags::from_bits_retain(self.chance.mostly([0, 1, 1]) as u32),
            ctx_id: self.context() as u32,
            nr_ops: self.chance.mostly([count, count, count, 0, MOST]) as u32,
            nr_done: self.chance.mostly([0, 0, 0, 1, count]) as u32,
            elem_size: self.chance.mostly([32, 32, 32, 32, 40]) as u32,
            ops: GuestPtr(self.playground.address() + ELEMENTS * 8),
            ..Batch::default()
        };
        self.put(at, call.as_bytes());
    }

    fn element(&mut self) -> BatchElement {
        let op = BatchOp(self.chance.mostly([1, 1, 2, 2, 3, 4, 5, 6]) as u16);
        let page = if op == BatchOp::MAP_LIST { self.within() } else { self.frame() };
        let page = if op == BatchOp::MAP || op == BatchOp::MAP_LIST { page } else { 0 };
        BatchElement {
            op,
            flags: ElementFlags::from_bits_retain(self.chance.mostly([0, 1, 3, 3, 8, 0x80]) as u16),
            status: 0,
            bfn: Bfn(self.bus_frame()),
            page,
            nr: self.pages() as u32,
            done: self.chance.mostly([0, 0, 0, 1]) as u32,
        }
    }

    fn context(&mut self) -> u64 {
        self.chance.mostly([0, 1, 2, 3])
    }

    fn frame(&mut self) -> u64 {
        let first = self.playground.frame(0).0;
        self.chance.mostly([first, first + 1, first + 7, 0, 1, 4095, 4096, 0xfed90])
    }

    fn bus_frame(&mut self) -> u64 {
        let near = self.chance.below(16);
        self.chance.mostly([near, near, 0x200 + near, (1 << 36) - near, 0xfee00 - near])
    }

    fn pages(&mut self) -> u64 {
        let few = self.chance.below(9);
        self.chance.mostly([1, few, few, 600, u64::MAX])
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            self.playground.write(at as usize + index, transmute!(*word));
        }
    }
}
