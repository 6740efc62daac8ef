//! Memory of the machine, by its frames: the first 2.75 GiB are mapped where they are.
//!
//! Others may touch a frame at the same time, a device or a guest on another processor. So what is given
//! out is atomics, and what is read through them is bytes that somebody chose.
#![expect(unsafe_code, reason = "memory is reached by its address")]

use core::{
    slice,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

use pviommu_hypervisor::addr::{Mfn, PAGE_SHIFT};

/// Bytes of a frame.
pub const PAGE: usize = 1 << PAGE_SHIFT;
/// Words of 64 bits of a frame.
pub const WORDS: usize = PAGE / 8;
/// Where memory ends that is mapped, and registers begin (`boot/entry.rs`).
pub const MAPPED: usize = 0xb000_0000;

/// Where `pages` frames from `frame` on are; `None` if not all of them are mapped as memory, or it is the
/// first page, at address 0.
fn address(frame: Mfn, pages: usize) -> Option<usize> {
    let first = usize::try_from(frame.0).ok().filter(|frame| *frame > 0)?;
    let last = first.checked_add(pages)?;
    (last <= MAPPED / PAGE).then_some(first * PAGE)
}

/// The words of `pages` frames. Empty if they are not memory.
#[must_use]
pub fn words(frame: Mfn, pages: usize) -> &'static [AtomicU64] {
    let Some(address) = address(frame, pages) else { return &[] };
    // SAFETY: mapped for ever and aligned; any bytes are atomics. The image itself is never in a frame that
    // somebody asks for, because the memory map is given out without it.
    unsafe { slice::from_raw_parts(address as *const AtomicU64, pages * WORDS) }
}

/// The bytes of one frame. Empty if it is no memory.
#[must_use]
pub fn bytes(frame: Mfn) -> &'static [AtomicU8] {
    let Some(address) = address(frame, 1) else { return &[] };
    // SAFETY: as above.
    unsafe { slice::from_raw_parts(address as *const AtomicU8, PAGE) }
}

/// What firmware or the loader has left at `address`; `None` if it is not all in memory.
#[must_use]
pub fn firmware(address: u64, length: usize) -> Option<&'static [u8]> {
    let start = usize::try_from(address).ok().filter(|start| *start > 0)?;
    let end = start.checked_add(length)?;
    if end > MAPPED {
        return None;
    }
    // SAFETY: mapped for ever. Nobody writes there any more: the memory map says that it is used.
    Some(unsafe { slice::from_raw_parts(start as *const u8, length) })
}

/// Fills `pages` frames with zeros.
pub fn clear(frame: Mfn, pages: usize) {
    for word in words(frame, pages) {
        word.store(0, Ordering::Relaxed);
    }
}

/// Memory for `count` values that are never given back, each made by `make`, in frames of its own.
pub fn place<T>(frame: Mfn, count: usize, mut make: impl FnMut(usize) -> T) -> &'static mut [T] {
    const { assert!(align_of::<T>() <= PAGE) };
    let pages = pages_for::<T>(count);
    let address = address(frame, pages).expect("the frames are memory");
    let first = address as *mut T;
    for index in 0..count {
        // SAFETY: within the frames, which are as long.
        let place = unsafe { first.add(index) };
        // SAFETY: the caller was given these frames, and has no other use for them.
        unsafe { place.write(make(index)) };
    }
    // SAFETY: all of them have just been written, and this is the only reference.
    unsafe { slice::from_raw_parts_mut(first, count) }
}

/// How many frames `count` values take.
#[must_use]
pub const fn pages_for<T>(count: usize) -> usize {
    (size_of::<T>() * count).div_ceil(PAGE)
}
