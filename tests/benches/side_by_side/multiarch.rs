//! `page_table_multiarch`: four levels in the x86-64 format.

use std::hint::black_box;

use page_table_multiarch::{MappingFlags, PageSize, PagingHandler, x86_64::X64PageTable};

use super::candidate::Candidate;

/// The address type the crate's handler deals in, which it does not re-export.
type Physical = memory_addr::PhysAddr;
type Virtual = memory_addr::VirtAddr;

#[repr(align(4096))]
struct Frame([u64; 512]);

/// Frames at the addresses of their memory. They live as long as the process.
struct Identity;

impl PagingHandler for Identity {
    fn alloc_frames(num: usize, _: usize) -> Option<Physical> {
        if num != 1 {
            return None;
        }
        let frame: &'static mut Frame = Box::leak(Box::new(Frame([0; 512])));
        Some(Physical::from(frame.0.as_mut_ptr().expose_provenance()))
    }

    fn dealloc_frames(_: Physical, _: usize) {}

    fn phys_to_virt(paddr: Physical) -> Virtual {
        Virtual::from(paddr.as_usize())
    }
}

pub(crate) struct Multiarch(X64PageTable<Identity>);

impl Multiarch {
    pub(crate) fn new() -> Self {
        Self(X64PageTable::try_new().unwrap())
    }
}

fn flags() -> MappingFlags {
    MappingFlags::READ | MappingFlags::WRITE
}

fn bus(bfn: u64) -> Virtual {
    Virtual::from((bfn << 12) as usize)
}

fn physical(mfn: u64) -> Physical {
    Physical::from((mfn << 12) as usize)
}

impl Candidate for Multiarch {
    const NAME: &'static str = "page_table_multiarch";

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.0.cursor().map(bus(bfn), physical(mfn), PageSize::Size4K, flags()).unwrap();
    }

    fn unmap_one(&mut self, bfn: u64) {
        black_box(self.0.cursor().unmap(bus(bfn)).unwrap());
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        let frame_of = |at: Virtual| physical(mfn + ((at.as_usize() as u64) >> 12) - bfn);
        let size = (pages << 12) as usize;
        self.0.cursor().map_region(bus(bfn), frame_of, size, flags(), false).unwrap();
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        self.0.cursor().unmap_region(bus(bfn), (pages << 12) as usize).unwrap();
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        self.0.cursor().map(bus(bfn), physical(mfn), PageSize::Size2M, flags()).unwrap();
    }

    fn unmap_large(&mut self, bfn: u64) {
        black_box(self.0.cursor().unmap(bus(bfn)).unwrap());
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        let (frame, _, _) = self.0.query(bus(bfn)).ok()?;
        Some((frame.as_usize() as u64) >> 12)
    }
}
