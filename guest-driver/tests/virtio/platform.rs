//! A kernel whose guest frames are the pages of this process.
#![expect(unsafe_code, reason = "implements the trait that hands out memory")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::panic::panic_any;
use std::ptr::NonNull;

use pviommu_abi::Gfn;
use pviommu_guest::virtio::{Platform, VirtioHal};
use pviommu_guest::{DeviceSpace, MapError, SpaceError};

use crate::machine::{Call, REACH_32, space};

thread_local! {
    static SPACE: RefCell<Option<DeviceSpace<Call, 16>>> = const { RefCell::new(None) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static NOT_MAPPED: Cell<Option<SpaceError>> = const { Cell::new(None) };
}

#[derive(Debug)]
pub(crate) struct Kernel;

pub(crate) type Hal = VirtioHal<Kernel, 16>;

/// How many pages are allocated.
pub(crate) fn allocated() -> usize {
    ALLOCATED.get()
}

/// The last error that was told, once.
pub(crate) fn not_mapped() -> Option<SpaceError> {
    NOT_MAPPED.take()
}

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * 4096, 4096).unwrap()
}

// SAFETY:
// 1. There is one space a thread, and the fake devices of a thread use it.
// 2. The allocator's promise.
// 3. The frame is the number of the page, always.
// 4. There are no registers.
unsafe impl Platform<16> for Kernel {
    type Hypercall = Call;

    fn with_space<R>(call: impl FnOnce(&mut DeviceSpace<Call, 16>) -> R) -> R {
        SPACE.with_borrow_mut(|held| call(held.get_or_insert_with(|| space(REACH_32).unwrap())))
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
        Some(Gfn::containing(u64::try_from(address).unwrap()))
    }

    unsafe fn registers(_: u64, _: usize) -> NonNull<u8> {
        panic!("there are none")
    }

    fn not_mapped(cause: SpaceError) {
        NOT_MAPPED.set(Some(cause));
    }

    fn still_mapped(cause: MapError) -> ! {
        panic_any(cause)
    }
}
