//! A virtio disk, never waited for without an end, and a way to mislead it.
#![expect(unsafe_code, reason = "buffers are lent to a device for a while")]

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use pviommu_abi::{Gfn, PciDevice};
use pviommu_guest::{
    DeviceSpace, MapError, SpaceError, Vmmcall,
    virtio::{AccessPlatform, Platform, VirtioHal},
};
use spin::Mutex;
use virtio_drivers::{
    BufferDirection, Error, Hal, PhysAddr, Result,
    device::blk::{BlkReq, BlkResp, SECTOR_SIZE, VirtIOBlk},
    transport::pci::{
        PciTransport,
        bus::{DeviceFunction, PciRoot},
    },
};

use crate::{clock, memory, pci::Ports, xen};

/// How many ranges are mapped at once: a queue of 16, and what is reserved.
pub const RANGES: usize = 64;

/// Where the device's buffers are mapped.
pub static SPACE: Mutex<Option<DeviceSpace<Vmmcall, RANGES>>> = Mutex::new(None);

/// This guest, as `pviommu-guest` needs it.
#[derive(Debug)]
pub struct Guest;

// SAFETY:
// 1. `Disk::open` sets the space before a driver is made, and no other is set while there is one.
// 2. and 3. `memory` hands out each page once, zeroed; memory is mapped one to one, always.
// 4. So are registers, below 4 GiB, and the hypervisor maps no others.
unsafe impl Platform<RANGES> for Guest {
    type Hypercall = Vmmcall;

    fn with_space<R>(call: impl FnOnce(&mut DeviceSpace<Vmmcall, RANGES>) -> R) -> R {
        call(SPACE.lock().as_mut().expect("a disk is open"))
    }

    fn allocate(pages: usize) -> Option<NonNull<u8>> {
        memory::allocate(pages)
    }

    unsafe fn free(memory: NonNull<u8>, pages: usize) {
        // SAFETY: the caller promises the same.
        unsafe { memory::free(memory, pages) };
    }

    fn frame_of(address: usize) -> Option<Gfn> {
        Some(memory::frame_of(address))
    }

    unsafe fn registers(address: PhysAddr, _size: usize) -> NonNull<u8> {
        NonNull::new(address as *mut u8).expect("registers are not at 0")
    }

    fn not_mapped(cause: SpaceError) {
        xen::tell(format_args!("guest: not mapped: {cause}"));
    }

    fn still_mapped(cause: MapError) -> ! {
        panic!("memory stays mapped: {cause}")
    }
}

/// How far from where they lie in the guest the device is told that buffers of whole sectors are, which are not
/// mapped then; or [`HONEST`].
pub static MISLEAD: AtomicU64 = AtomicU64::new(HONEST);

/// All buffers are mapped, and the device is told where.
pub const HONEST: u64 = u64::MAX;

/// [`VirtioHal`], unless it is to [`MISLEAD`].
#[derive(Debug)]
pub struct Misleading;

type Honest = VirtioHal<Guest, RANGES>;

/// How far, for this buffer.
fn misleads(buffer: NonNull<[u8]>) -> Option<u64> {
    let distance = MISLEAD.load(Ordering::Relaxed);
    (buffer.len() >= SECTOR_SIZE && distance != HONEST).then_some(distance)
}

// SAFETY: as for `Honest`; a buffer that is not mapped is in no device's reach at all.
unsafe impl Hal for Misleading {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        Honest::dma_alloc(pages, direction)
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller promises the same.
        unsafe { Honest::dma_dealloc(paddr, vaddr, pages) }
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        // SAFETY: the caller promises the same.
        unsafe { Honest::mmio_phys_to_virt(paddr, size) }
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        if let Some(distance) = misleads(buffer) {
            return buffer.cast::<u8>().addr().get() as u64 + distance;
        }
        // SAFETY: the caller promises the same.
        unsafe { Honest::share(buffer, direction) }
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        if misleads(buffer).is_none() {
            // SAFETY: the caller promises the same.
            unsafe { Honest::unshare(paddr, buffer, direction) };
        }
    }
}

/// A disk; nothing in it after the device did not answer, and was reset.
pub struct Disk(Option<VirtIOBlk<Misleading, AccessPlatform<PciTransport>>>);

impl Disk {
    /// Sets the device up, which was moved to the context of `space`.
    pub fn open(device: PciDevice, space: DeviceSpace<Vmmcall, RANGES>) -> Result<Self> {
        *SPACE.lock() = Some(space);
        let function = DeviceFunction {
            bus: device.bus,
            device: device.devfn >> 3,
            function: device.devfn & 7,
        };
        let transport = PciTransport::new::<Misleading, _>(&mut PciRoot::new(Ports), function);
        let transport = transport.map_err(|_| Error::Unsupported)?;
        VirtIOBlk::new(AccessPlatform::new(transport)).map(|disk| Self(Some(disk)))
    }

    /// How many sectors it has.
    pub fn sectors(&self) -> usize {
        let sectors = self.0.as_ref().map_or(0, VirtIOBlk::capacity);
        usize::try_from(sectors).unwrap_or(usize::MAX)
    }

    /// Reads whole sectors from `sector` on.
    ///
    /// # Errors
    ///
    /// `NotReady` if the device did not answer; then its buffers stay mapped until the context is freed.
    pub fn read(&mut self, sector: usize, buffer: &mut [u8], patience: u64) -> Result {
        let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
        let disk = self.0.as_mut().ok_or(Error::NotReady)?;
        // SAFETY: nobody touches them before `wait` has returned: complete, or the device is reset.
        let token = unsafe { disk.read_blocks_nb(sector, &mut request, buffer, &mut response) }?;
        let disk = self.wait(token, patience)?;
        // SAFETY: the buffers of this token.
        unsafe { disk.complete_read_blocks(token, &request, buffer, &mut response) }
    }

    /// Writes whole sectors from `sector` on.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn write(&mut self, sector: usize, buffer: &[u8], patience: u64) -> Result {
        let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
        let disk = self.0.as_mut().ok_or(Error::NotReady)?;
        // SAFETY: nobody touches them before `wait` has returned: complete, or the device is reset.
        let token = unsafe { disk.write_blocks_nb(sector, &mut request, buffer, &mut response) }?;
        let disk = self.wait(token, patience)?;
        // SAFETY: the buffers of this token.
        unsafe { disk.complete_write_blocks(token, &request, buffer, &mut response) }
    }

    /// Waits until a request is complete, or ends it with all others by a reset.
    fn wait(
        &mut self,
        token: u16,
        patience: u64,
    ) -> Result<&mut VirtIOBlk<Misleading, AccessPlatform<PciTransport>>> {
        let disk = self.0.as_mut().ok_or(Error::NotReady)?;
        if !clock::wait(patience, || disk.peek_used() == Some(token)) {
            // Its transport resets the device.
            self.0 = None;
        }
        self.0.as_mut().ok_or(Error::NotReady)
    }
}
