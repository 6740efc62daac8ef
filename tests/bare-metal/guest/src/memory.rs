//! Pages of the guest, for devices and for others.
//!
//! Memory is mapped one to one, so the guest frame of a byte is its address without the last 12 bits.
#![expect(unsafe_code, reason = "memory is handed out by its address")]

use core::{
    cell::UnsafeCell,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use pviommu_abi::Gfn;
use pviommu_guest::dma::{Buffer, Piece};
use spin::Mutex;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Pages to hand out: 2 MiB.
const PAGES: usize = 512;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[[u8; PAGE]; PAGES]>);

// SAFETY: its pages are handed out once each, under the lock of `USED`.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new([[0; PAGE]; PAGES]));
/// A bit for each page that is handed out.
static USED: Mutex<[u64; PAGES / 64]> = Mutex::new([0; PAGES / 64]);

fn is_used(used: &[u64; PAGES / 64], page: usize) -> bool {
    used[page / 64] >> (page % 64) & 1 != 0
}

/// Takes `pages` pages of zeros that follow each other.
pub fn allocate(pages: usize) -> Option<NonNull<u8>> {
    let mut used = USED.lock();
    let fits = |first: &usize| (*first..first + pages).all(|page| !is_used(&used, page));
    let first = (0..=PAGES.checked_sub(pages)?).find(fits)?;
    (first..first + pages).for_each(|page| used[page / 64] |= 1 << (page % 64));
    drop(used);
    let start = NonNull::new(POOL.0.get().cast::<u8>())?;
    // SAFETY: within the pool.
    let memory = unsafe { start.add(first * PAGE) };
    // SAFETY: these pages are nobody else's.
    unsafe { memory.write_bytes(0, pages * PAGE) };
    Some(memory)
}

/// Takes pages back.
///
/// # Safety
///
/// [`allocate`] handed them out, as many, and nobody uses them any longer.
pub unsafe fn free(memory: NonNull<u8>, pages: usize) {
    let first = (memory.addr().get() - POOL.0.get().addr()) / PAGE;
    let mut used = USED.lock();
    (first..first + pages).for_each(|page| used[page / 64] &= !(1 << (page % 64)));
}

/// The guest frame that a byte lies in.
pub const fn frame_of(address: usize) -> Gfn {
    Gfn::containing(address as u64)
}

/// Pages that a device writes at any time, and that are never given back.
#[derive(Clone, Copy, Debug)]
pub struct Shared(&'static [AtomicU64]);

impl Shared {
    /// Takes `pages` pages of zeros.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn take(pages: usize) -> Self {
        let memory = allocate(pages).expect("the pool is large enough").cast::<AtomicU64>();
        // SAFETY: aligned zeros that are handed out for ever, and any bytes are atomics.
        let words = unsafe { core::slice::from_raw_parts(memory.as_ptr(), pages * PAGE / 8) };
        Self(words)
    }

    /// The guest frame of page `page`.
    pub fn frame(self, page: usize) -> Gfn {
        Gfn(frame_of(self.0.as_ptr().addr()).0 + page as u64)
    }

    /// Page `page`, as a device is given it.
    pub fn page(self, page: usize) -> Piece {
        Piece { address: self.address() + (page * PAGE) as u64, length: PAGE as u64 }
    }

    /// The address of its first byte.
    pub fn address(self) -> u64 {
        self.0.as_ptr().addr() as u64
    }

    /// The word at `index`.
    pub fn read(self, index: usize) -> u64 {
        self.0[index].load(Ordering::Acquire)
    }

    /// Writes the word at `index`.
    pub fn write(self, index: usize, value: u64) {
        self.0[index].store(value, Ordering::Release);
    }

    /// Writes the same word everywhere.
    pub fn fill(self, value: u64) {
        self.0.iter().for_each(|word| word.store(value, Ordering::Release));
    }

    /// Whether each word of page `page` is `value`.
    pub fn page_is(self, page: usize, value: u64) -> bool {
        self.0[page * PAGE / 8..][..PAGE / 8]
            .iter()
            .all(|word| word.load(Ordering::Acquire) == value)
    }
}

impl Buffer for Shared {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        core::iter::once(Piece { address: self.address(), length: self.0.len() as u64 * 8 })
    }
}
