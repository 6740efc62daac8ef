//! `x86_64`: its page table where all memory is mapped at an offset, here 0.
#![expect(unsafe_code, reason = "the crate's calls are unsafe: a processor could walk the table")]

use std::hint::black_box;

use x86_64::{
    PhysAddr, VirtAddr,
    structures::paging::{
        FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags, PhysFrame,
        Size2MiB, Size4KiB, Translate, mapper::TranslateResult,
    },
};

use super::candidate::Candidate;

pub(crate) struct X86(OffsetPageTable<'static>);

/// Frames that live as long as the process.
struct Leaking;

// SAFETY: each frame is new memory that nobody else knows.
unsafe impl FrameAllocator<Size4KiB> for Leaking {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let table: &'static mut PageTable = Box::leak(Box::new(PageTable::new()));
        let address = std::ptr::from_mut(table).expose_provenance() as u64;
        Some(PhysFrame::containing_address(PhysAddr::new(address)))
    }
}

impl X86 {
    pub(crate) fn new() -> Self {
        let root: &'static mut PageTable = Box::leak(Box::new(PageTable::new()));
        // SAFETY: frames are where their memory is, so the offset is 0; the root is nobody else's.
        Self(unsafe { OffsetPageTable::new(root, VirtAddr::new(0)) })
    }
}

fn page(bfn: u64) -> Page {
    Page::containing_address(VirtAddr::new(bfn << 12))
}

fn large(bfn: u64) -> Page<Size2MiB> {
    Page::containing_address(VirtAddr::new(bfn << 12))
}

fn flags() -> PageTableFlags {
    PageTableFlags::PRESENT | PageTableFlags::WRITABLE
}

impl Candidate for X86 {
    const NAME: &'static str = "x86_64";

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        let frame = PhysFrame::containing_address(PhysAddr::new(mfn << 12));
        // SAFETY: no processor walks this table.
        let mapped = unsafe { self.0.map_to(page(bfn), frame, flags(), &mut Leaking) };
        mapped.unwrap().ignore();
    }

    fn unmap_one(&mut self, bfn: u64) {
        let (frame, flush) = self.0.unmap(page(bfn)).unwrap();
        black_box(frame);
        flush.ignore();
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        for i in 0..pages {
            self.map_one(bfn + i, mfn + i);
        }
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        for i in 0..pages {
            self.unmap_one(bfn + i);
        }
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        let frame = PhysFrame::<Size2MiB>::containing_address(PhysAddr::new(mfn << 12));
        // SAFETY: no processor walks this table.
        let mapped = unsafe { self.0.map_to(large(bfn), frame, flags(), &mut Leaking) };
        mapped.unwrap().ignore();
    }

    fn unmap_large(&mut self, bfn: u64) {
        let (frame, flush) = self.0.unmap(large(bfn)).unwrap();
        black_box(frame);
        flush.ignore();
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        match self.0.translate(VirtAddr::new(bfn << 12)) {
            TranslateResult::Mapped { frame, offset, .. } => {
                Some((frame.start_address().as_u64() + offset) >> 12)
            }
            _ => None,
        }
    }
}
