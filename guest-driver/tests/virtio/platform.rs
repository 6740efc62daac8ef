//! A kernel whose guest frames are the pages of this process.
#![expect(unsafe_code, reason = "implements the trait that hands out memory")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, OnceCell};
use std::panic::panic_any;
use std::ptr::NonNull;

use pviommu_abi::Gfn;
use pviommu_guest::dma::{DmaError, DmaSpace, DmaStorage};
use pviommu_guest::virtio::{Platform, VirtioDma, VirtioHal};

use crate::fake::{Call, DEVICE, REACH_32};

/// How many buffers the disk can have.
pub(crate) const BUFFERS: usize = 16;

thread_local! {
    static DMA: OnceCell<&'static VirtioDma<Call, BUFFERS>> = const { OnceCell::new() };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static NOT_MAPPED: Cell<Option<DmaError>> = const { Cell::new(None) };
    static HOLE: Cell<Option<Gfn>> = const { Cell::new(None) };
}

#[derive(Debug)]
pub(crate) struct Kernel;

pub(crate) type Hal = VirtioHal<Kernel, BUFFERS>;

/// How many pages are allocated.
pub(crate) fn allocated() -> usize {
    ALLOCATED.get()
}

/// Has no frame behind this page, until there is another hole or none.
pub(crate) fn set_hole(page: Option<Gfn>) {
    HOLE.set(page);
}

/// The last error that was told, once.
pub(crate) fn not_mapped() -> Option<DmaError> {
    NOT_MAPPED.take()
}

/// The DMA of this thread's device.
fn open() -> &'static VirtioDma<Call, BUFFERS> {
    let storage: &DmaStorage<64, 1> = Box::leak(Box::new(DmaStorage::new()));
    let space = Box::leak(Box::new(DmaSpace::open(Call, storage).unwrap()));
    Box::leak(Box::new(VirtioDma::new(space.attach(DEVICE, REACH_32).unwrap())))
}

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * 4096, 4096).unwrap()
}

// SAFETY:
// 1. There is one a thread, and the fake devices of a thread use it.
// 2. The allocator's promise.
// 3. The frame is the number of the page, always, or none, which no buffer has that is mapped.
// 4. There are no registers.
unsafe impl Platform<BUFFERS> for Kernel {
    type Kernel = Call;

    fn dma() -> &'static VirtioDma<Call, BUFFERS> {
        DMA.with(|dma| *dma.get_or_init(open))
    }

    fn allocate(pages: usize) -> Option<NonNull<u8>> {
        ALLOCATED.set(ALLOCATED.get() + pages);
        // SAFETY: drivers ask for a page at least.
        NonNull::new(unsafe { alloc_zeroed(layout(pages)) })
    }

    unsafe fn free(memory: NonNull<u8>, pages: usize) {
        ALLOCATED.set(ALLOCATED.get() - pages);
        // SAFETY: `allocate` returned it with this layout.
        unsafe { dealloc(memory.as_ptr(), layout(pages)) };
    }

    fn frame_of(address: usize) -> Option<Gfn> {
        let page = Gfn::containing(u64::try_from(address).unwrap());
        (HOLE.get() != Some(page)).then_some(page)
    }

    unsafe fn registers(_: u64, _: usize) -> NonNull<u8> {
        panic!("there are none")
    }

    fn not_mapped(cause: DmaError) {
        NOT_MAPPED.set(Some(cause));
    }

    fn still_mapped(cause: DmaError) -> ! {
        panic_any(cause)
    }
}
