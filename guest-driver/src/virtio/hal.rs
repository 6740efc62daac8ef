//! `virtio_drivers::Hal` over a [`Device`].
//!
//! The functions of a `Hal` have no `self` and cannot fail. So where the state is, is the embedder's to
//! say ([`Platform`]); a buffer that cannot be mapped is given an address that leads nowhere; and where
//! a device cannot be kept from a buffer, nothing goes on.

#![expect(unsafe_code, reason = "implements a trait that passes pointers to buffers")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use heapless::Vec;
use pviommu_abi::{Gfn, PAGE_SIZE};
use spin::Mutex;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use super::memory::VirtualMemory;
use crate::bfn::BfnError;
use crate::dma::{Device, Direction, DmaError, Kernel, Mapping};

/// The bus address of a buffer that could not be mapped. No context translates it: none has bit 63
/// in its aperture.
pub const NOWHERE: PhysAddr = 1 << 63;

/// What [`VirtioHal`] needs of a kernel. `N` is how many buffers its devices can have at a time.
///
/// # Safety
///
/// 1. [`dma`](Self::dma) always returns the same, whose context the devices of this `Hal` are attached
///    to for as long as they are driven.
/// 2. [`allocate`](Self::allocate) gives zeroed pages, aligned to 4096 bytes, that are nobody else's until
///    they are freed.
/// 3. [`frame_of`](Self::frame_of) tells the guest frame in which the byte at that virtual address lies,
///    and this stays so while the page is mapped for the device.
/// 4. [`registers`](Self::registers) returns a pointer through which those bytes can be accessed.
pub unsafe trait Platform<const N: usize>: 'static {
    /// The kernel.
    type Kernel: Kernel + 'static;

    /// The DMA of these devices.
    fn dma() -> &'static VirtioDma<Self::Kernel, N>;

    /// Takes `pages` pages that follow each other in virtual memory; `None` if there are not as many.
    fn allocate(pages: usize) -> Option<NonNull<u8>>;

    /// Takes pages back. Devices cannot reach them any longer.
    ///
    /// # Safety
    ///
    /// [`allocate`](Self::allocate) returned them, as many, and nobody uses them.
    unsafe fn free(memory: NonNull<u8>, pages: usize);

    /// The guest frame behind a virtual address; `None` if there is none.
    fn frame_of(address: usize) -> Option<Gfn>;

    /// Where registers at a guest physical address are in virtual memory.
    ///
    /// # Safety
    ///
    /// The range lies within a memory BAR of the device.
    unsafe fn registers(address: PhysAddr, size: usize) -> NonNull<u8>;

    /// A buffer was not mapped, and the device is told [`NOWHERE`]: its request will fail, or the
    /// device stops answering. Pages for queues are not told to the device at all; the driver gets
    /// `DmaError`.
    fn not_mapped(cause: DmaError) {
        let _ = cause;
    }

    /// The device may still reach a buffer that the driver believes to have back, and would use for
    /// something else. Nothing may go on; what is left to do is to reset the device.
    fn still_mapped(cause: DmaError) -> !;
}

/// A device, and the buffers that it has.
pub struct VirtioDma<K: Kernel + 'static, const N: usize> {
    device: Device<'static, K>,
    lent: Mutex<Vec<Lent<K>, N>>,
}

type Lent<K> = Mapping<'static, K, VirtualMemory>;

impl<K: Kernel + 'static, const N: usize> VirtioDma<K, N> {
    /// The DMA of a device that has no buffer yet. Others in the same space may share it, if they
    /// reach as far.
    pub const fn new(device: Device<'static, K>) -> Self {
        Self { device, lent: Mutex::new(Vec::new()) }
    }

    /// The device.
    pub const fn device(&self) -> &Device<'static, K> {
        &self.device
    }

    /// How many buffers it has.
    pub fn lent(&self) -> usize {
        self.lent.lock().len()
    }

    /// Unmaps all that it has: the buffers of requests that were given up, and of a driver that was
    /// dropped. For after the device was reset, when no driver uses it.
    ///
    /// # Errors
    ///
    /// [`DmaError::StillMapped`]: the device may still reach a buffer, which must never be used for
    /// anything else. The others are unmapped.
    pub fn take_all_back(&self) -> Result<(), DmaError> {
        let mut outcome = Ok(());
        while let Some(mapping) = self.pop() {
            outcome = outcome.and(mapping.unmap().map(|_| ()).map_err(|still| still.cause));
        }
        outcome
    }

    fn pop(&self) -> Option<Lent<K>> {
        self.lent.lock().pop()
    }

    /// Maps a buffer, and keeps it until it is taken back.
    fn lend(&'static self, memory: VirtualMemory, direction: Direction) -> Result<u64, DmaError> {
        let mapping = self.device.map(memory, direction).map_err(|failed| failed.cause)?;
        let address = mapping.address();
        let refused = self.lent.lock().push(mapping);
        match refused {
            Ok(()) => Ok(address),
            Err(mapping) => {
                mapping.unmap().map_err(|still| still.cause)?;
                Err(BfnError::TooManyRanges { capacity: N }.into())
            }
        }
    }

    /// Unmaps a buffer of this length at this address; `None` if there is none.
    fn take_back(&self, address: u64, length: usize) -> Option<Result<(), DmaError>> {
        let mut lent = self.lent.lock();
        let is_it =
            |mapping: &Lent<K>| mapping.address() == address && mapping.buffer().length() == length;
        let place = lent.iter().position(is_it)?;
        let mapping = lent.swap_remove(place);
        drop(lent);
        Some(mapping.unmap().map(|_| ()).map_err(|still| still.cause))
    }
}

impl<K: Kernel + 'static, const N: usize> fmt::Debug for VirtioDma<K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioDma").field("lent", &self.lent()).finish_non_exhaustive()
    }
}

/// The `Hal` of a kernel with this [`Platform`].
#[derive(Debug)]
pub struct VirtioHal<P, const N: usize>(PhantomData<P>);

impl<P: Platform<N>, const N: usize> VirtioHal<P, N> {
    /// Maps the pages in which `length` bytes from a virtual address lie, and returns the bus address
    /// of the first byte.
    fn map(
        address: usize,
        length: usize,
        direction: BufferDirection,
    ) -> Result<PhysAddr, DmaError> {
        let memory = VirtualMemory::new(address, length, P::frame_of);
        match P::dma().lend(memory, direction_of(direction)) {
            Err(cause @ DmaError::StillMapped(_)) => P::still_mapped(cause),
            outcome => outcome,
        }
    }

    /// Unmaps what [`map`](Self::map) mapped; returns only if no device can reach it any longer. Tells
    /// whether there was such a buffer.
    fn unmap(bus_address: PhysAddr, length: usize) -> bool {
        match P::dma().take_back(bus_address, length) {
            Some(Err(cause)) => P::still_mapped(cause),
            outcome => outcome.is_some(),
        }
    }
}

// SAFETY: memory and registers are the platform's (promises 2 and 4). A device reaches a buffer from
// `share` to `unshare` only: in between its pages are behind bus frames that nobody else has, and what
// cannot be unmapped ends in `still_mapped`, which does not return.
unsafe impl<P: Platform<N>, const N: usize> Hal for VirtioHal<P, N> {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // 0 is what the driver takes for a failure; bus frame 0 is never handed out.
        let failed = (0, NonNull::dangling());
        let (Some(size), Some(memory)) = (bytes(pages), P::allocate(pages)) else { return failed };
        match Self::map(memory.addr().get(), size, direction) {
            Ok(bus_address) => (bus_address, memory),
            Err(cause) => {
                P::not_mapped(cause);
                // SAFETY: just allocated, and told to nobody; no device reaches it (`map` failed).
                unsafe { P::free(memory, pages) };
                failed
            }
        }
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        let unmapped = bytes(pages).is_some_and(|size| Self::unmap(paddr, size));
        if !unmapped {
            return -1;
        }
        // SAFETY: `dma_alloc` took it from `allocate`, as many pages, and the caller is done with it.
        unsafe { P::free(vaddr, pages) };
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        // SAFETY: the caller promises the same.
        unsafe { P::registers(paddr, size) }
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let address = buffer.cast::<u8>().addr().get();
        match Self::map(address, buffer.len(), direction) {
            Ok(bus_address) => bus_address,
            Err(cause) => {
                P::not_mapped(cause);
                NOWHERE
            }
        }
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, _direction: BufferDirection) {
        if paddr == NOWHERE {
            return;
        }
        // If there was none, `share` did not return this address for this buffer, against what the
        // caller promises.
        let _ = Self::unmap(paddr, buffer.len());
    }
}

fn bytes(pages: usize) -> Option<usize> {
    pages.checked_mul(usize::try_from(PAGE_SIZE).ok()?)
}

const fn direction_of(direction: BufferDirection) -> Direction {
    match direction {
        BufferDirection::DriverToDevice => Direction::ToDevice,
        BufferDirection::DeviceToDriver => Direction::FromDevice,
        BufferDirection::Both => Direction::Both,
    }
}
