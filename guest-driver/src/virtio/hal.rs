//! `virtio_drivers::Hal` over a [`DeviceSpace`].
//!
//! The functions of a `Hal` have no `self` and cannot fail. So where the state is, is the embedder's to
//! say ([`Platform`]); a buffer that cannot be mapped is given an address that leads nowhere; and where
//! a device cannot be kept from a buffer, nothing goes on.

#![expect(unsafe_code, reason = "implements a trait that passes pointers to buffers")]

use core::marker::PhantomData;
use core::ptr::NonNull;

use pviommu_abi::{Bfn, Gfn, MapFlags, PAGE_SIZE};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::error::MapError;
use crate::hypercall::Hypercall;
use crate::space::{DeviceSpace, SpaceError};

/// The bus address of a buffer that could not be mapped. No context translates it: none has bit 63
/// in its aperture.
pub const NOWHERE: PhysAddr = 1 << 63;

/// What [`VirtioHal`] needs of a kernel. `N` is how many ranges its [`DeviceSpace`] has room for.
///
/// # Safety
///
/// 1. [`with_space`](Self::with_space) always hands out the same space, which maps in the context that
///    the devices of this `Hal` are attached to for as long as they are driven.
/// 2. [`allocate`](Self::allocate) gives zeroed pages, aligned to 4096 bytes, that are nobody else's until
///    they are freed.
/// 3. [`frame_of`](Self::frame_of) tells the guest frame in which the byte at that virtual address lies,
///    and this stays so while the page is mapped for the device.
/// 4. [`registers`](Self::registers) returns a pointer through which those bytes can be accessed.
pub unsafe trait Platform<const N: usize> {
    /// The way to the hypervisor.
    type Hypercall: Hypercall;

    /// Calls `call` with the space, while nobody else has it. What `call` does takes hypercalls, and
    /// none of the other functions of this trait but [`frame_of`](Self::frame_of).
    fn with_space<R>(call: impl FnOnce(&mut DeviceSpace<Self::Hypercall, N>) -> R) -> R;

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
    fn not_mapped(cause: SpaceError) {
        let _ = cause;
    }

    /// The device may still reach a buffer that the driver believes to have back, and would use for
    /// something else. Nothing may go on; what is left to do is to reset the device.
    fn still_mapped(cause: MapError) -> !;
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
    ) -> Result<PhysAddr, SpaceError> {
        let no_frame = SpaceError::NoFrame { page: 0 };
        let (offset, pages) = pages_of(address, length).ok_or(no_frame)?;
        let frame_of = |page: u32| {
            let distance = u64::from(page).checked_mul(PAGE_SIZE)?;
            let start = address.checked_sub(usize::try_from(offset).ok()?)?;
            P::frame_of(start.checked_add(usize::try_from(distance).ok()?)?)
        };
        let mapped = P::with_space(|space| space.map(pages, access(direction), frame_of));
        match mapped {
            // A bus frame within an aperture has an address.
            Ok(bfn) => Ok(bfn.address().unwrap_or(NOWHERE) | offset),
            Err(SpaceError::StillMapped(cause)) => P::still_mapped(cause),
            Err(cause) => Err(cause),
        }
    }

    /// Unmaps what [`map`](Self::map) mapped; returns only if no device can reach it any longer.
    fn unmap(bus_address: PhysAddr, length: usize) -> Result<(), SpaceError> {
        let bfn = Bfn::containing(bus_address);
        let in_page = usize::try_from(bus_address % PAGE_SIZE).unwrap_or_default();
        let no_frame = SpaceError::NoFrame { page: 0 };
        let (_, pages) = pages_of(in_page, length).ok_or(no_frame)?;
        match P::with_space(|space| space.unmap(bfn, pages)) {
            Err(SpaceError::StillMapped(cause)) => P::still_mapped(cause),
            outcome => outcome,
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
        let unmapped = bytes(pages).map(|size| Self::unmap(paddr, size));
        let Some(Ok(())) = unmapped else { return -1 };
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
        // Anything but success is an address that `share` did not return for this buffer, against what
        // the caller promises.
        let _ = Self::unmap(paddr, buffer.len());
    }
}

/// The offset of an address in its page, and how many pages so many bytes from there touch.
fn pages_of(address: usize, length: usize) -> Option<(u64, u32)> {
    let address = u64::try_from(address).ok()?;
    let length = u64::try_from(length).ok()?;
    let offset = address % PAGE_SIZE;
    // No byte of it wraps around.
    address.checked_add(length)?;
    let pages = offset.checked_add(length)?.div_ceil(PAGE_SIZE);
    Some((offset, u32::try_from(pages).ok()?))
}

fn bytes(pages: usize) -> Option<usize> {
    pages.checked_mul(usize::try_from(PAGE_SIZE).ok()?)
}

/// What the device may do with a buffer of this direction, and no more.
const fn access(direction: BufferDirection) -> MapFlags {
    match direction {
        BufferDirection::DriverToDevice => MapFlags::READABLE,
        BufferDirection::DeviceToDriver => MapFlags::WRITEABLE,
        BufferDirection::Both => MapFlags::READABLE.union(MapFlags::WRITEABLE),
    }
}
