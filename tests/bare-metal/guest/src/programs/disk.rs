//! A virtio disk, never waited for without an end, and a way to mislead it.
#![expect(unsafe_code, reason = "buffers are lent to a device for a while")]

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use pviommu_abi::{Gfn, PciDevice};
use pviommu_guest::{
    dma::{DmaError, DmaSpace, DmaStorage},
    virtio::{AccessPlatform, Platform, VirtioDma, VirtioHal},
};
use spin::{Mutex, Once};
use virtio_drivers::{
    BufferDirection, Error, Hal, PhysAddr,
    device::blk::{BlkReq, BlkResp, SECTOR_SIZE, VirtIOBlk},
    transport::pci::{
        PciTransport,
        bus::{DeviceFunction, PciRoot},
    },
};

use crate::{clock, kernel::Metal, memory, pci::Ports, xen};

/// How many buffers the disk has at once: those of a queue of 16, and the queue.
pub const BUFFERS: usize = 64;

/// The DMA of a disk.
pub type Dma = VirtioDma<Metal, BUFFERS>;
/// A context for a disk.
pub type Space = DmaSpace<'static, Metal>;
type Storage = DmaStorage<256, 1>;

/// What the disk needs in one context. Drivers of `virtio-drivers` have no lifetime, so it is used once, and
/// stays.
pub struct Place {
    storage: Storage,
    space: Once<Space>,
    dma: Once<Dma>,
}

impl Place {
    /// Nobody uses it yet.
    pub const fn new() -> Self {
        Self { storage: Storage::new(), space: Once::new(), dma: Once::new() }
    }

    /// Makes the space with `open`, and attaches the disk to it.
    pub fn attach(
        &'static self,
        device: PciDevice,
        open: impl FnOnce(&'static Storage) -> Result<Space, DmaError>,
    ) -> Result<&'static Dma, DmaError> {
        let space = self.space.try_call_once(|| open(&self.storage))?;
        self.dma.try_call_once(|| space.attach(device, u64::MAX).map(Dma::new))
    }
}

/// The DMA of the disk that is open.
static DMA: Mutex<Option<&'static Dma>> = Mutex::new(None);

/// This guest, as `pviommu-guest` needs it.
#[derive(Debug)]
pub struct Guest;

// SAFETY:
// 1. `Disk::open` sets it before a driver is made, and no other is set while there is one.
// 2. and 3. `memory` hands out each page once, zeroed; memory is mapped one to one, always.
// 4. So are registers, below 4 GiB, and the hypervisor maps no others.
unsafe impl Platform<BUFFERS> for Guest {
    type Kernel = Metal;

    fn dma() -> &'static Dma {
        DMA.lock().expect("a disk is open")
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

    fn not_mapped(cause: DmaError) {
        xen::tell(format_args!("guest: not mapped: {cause}"));
    }

    fn still_mapped(cause: DmaError) -> ! {
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

type Honest = VirtioHal<Guest, BUFFERS>;

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
    /// Sets the device up. No other disk is open.
    pub fn open(dma: &'static Dma) -> virtio_drivers::Result<Self> {
        *DMA.lock() = Some(dma);
        let device = dma.device().name();
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
    pub fn read(
        &mut self,
        sector: usize,
        buffer: &mut [u8],
        patience: u64,
    ) -> virtio_drivers::Result {
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
    pub fn write(&mut self, sector: usize, buffer: &[u8], patience: u64) -> virtio_drivers::Result {
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
    ) -> virtio_drivers::Result<&mut VirtIOBlk<Misleading, AccessPlatform<PciTransport>>> {
        let disk = self.0.as_mut().ok_or(Error::NotReady)?;
        if !clock::wait(patience, || disk.peek_used() == Some(token)) {
            // Its transport resets the device.
            self.0 = None;
        }
        self.0.as_mut().ok_or(Error::NotReady)
    }
}
