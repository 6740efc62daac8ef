//! A virtio disk of which every byte goes through bus frames.
//!
//! The first half of its image is a pattern: word `i`, of 64 bits and little-endian, of the sector `n` of 512
//! bytes is `(n << 32 | i) * 0x9e37_79b9_7f4a_7c15`, without what does not fit. The second half is written.

use core::sync::atomic::Ordering;

use pviommu_abi::{Background, FreeFlags};
use pviommu_guest::{IommuClient, dma::DmaSpace};
use virtio_drivers::{Error, device::blk::SECTOR_SIZE};

use super::{
    disk::{Disk, HONEST, MISLEAD, Place},
    faults,
};
use crate::{
    check::{check, check_eq},
    clock::SECOND,
    kernel::Metal,
    memory::{PAGE, allocate},
    pci,
    xen::transport,
};

/// Vendor and device of a disk that is not also of an older kind.
const ID: u32 = 0x1042_1af4;
const REQUESTS: usize = 1200;
/// Requests of 16 pages and more by bus frames that nobody mapped.
const ASTRAY: usize = 250;
/// Sectors of the longest request: 64 KiB.
const MOST: usize = 128;
/// Bytes of the buffer: the longest request, from anywhere in its first pages.
const ROOM: usize = MOST * SECTOR_SIZE + 4 * PAGE;
/// The host reads the image when it comes to it.
const PATIENCE: u64 = 300 * SECOND;
/// For a device that will not answer.
const SHORT: u64 = SECOND / 2;

/// Where the disk is first, and then.
static PLACES: [Place; 2] = [const { Place::new() }; 2];

/// Runs it with the first disk.
pub fn run(told: bool) {
    let iommu = IommuClient::new(transport());
    let device = pci::find(ID).next().expect("the guest was given a disk");
    pci::enable(device);
    let room = allocate(ROOM.div_ceil(PAGE)).expect("the pool is large enough");
    let buffer = super::raw::slice(room, ROOM);

    let dma = PLACES[0].attach(device, |storage| DmaSpace::open(Metal::new(), storage));
    let dma = dma.expect("it can be moved");
    let space = dma.device().space();
    let all = space.free_pages();
    let mut disk = Disk::open(dma).expect("a disk that uses bus addresses");
    let half = disk.sectors() / 2;
    assert!(half >= 2 * MOST, "the image is too small");
    let before = (dma.lent(), space.free_pages());
    check("requests of all sizes move the right data", requests(&mut disk, half, buffer));
    check_eq("requests leave nothing mapped", (dma.lent(), space.free_pages()), before);
    check("nothing was refused", if told { faults::expect_none(&iommu) } else { Ok(()) });

    // Blocked. Whether the disk says that it could not, or stops, is its own affair.
    faults::forget(&iommu);
    let target = &mut buffer[..PAGE];
    let address = target.as_ptr().addr() as u64;
    target.fill(SECRET);
    let _ = misled(0, || disk.read(0, target, SHORT));
    check_eq("a disk that was given a guest address does not write there", is_secret(target), true);
    if told {
        check("the guest is told of the disk", faults::expect(&iommu, device, address));
    }
    drop(disk);
    check("what was given up is taken back", dma.take_all_back());
    check_eq("it was all there was", (space.free_pages(), space.lost_pages()), (all, 0));
    let freed = iommu.free_context(space.context(), FreeFlags::REATTACH_DEFAULT);
    check("its context can be freed", freed);

    // Over scratch, it reads and writes what is nobody's.
    let context = iommu.alloc_context_ext(Background::SCRATCH, None).expect("there is one");
    let in_it = |storage| DmaSpace::in_context(Metal::new(), context, storage);
    let dma = PLACES[1].attach(device, in_it).expect("it can be moved");
    let mut disk = Disk::open(dma).expect("it works again");
    faults::forget(&iommu);
    let outcome = misled(0, || disk.read(0, target, PATIENCE));
    check("over scratch a guest address leads nowhere", outcome);
    check_eq("and not to the guest's memory", is_secret(target), true);
    check("nor does it when the disk reads", misled(0, || disk.write(half, target, PATIENCE)));
    check("what it has read is there", disk.read(half, target, PATIENCE));
    check_eq("and is not the guest's memory", is_secret(target), false);
    check("thousands of bus frames of a disk lead nowhere", astray(&mut disk, half, buffer));
    check_eq("and not to the guest's memory", is_secret(buffer), true);
    check("requests over scratch move the right data", some_requests(&mut disk, half, buffer));
    drop(disk);
    check_eq("no request was given up", dma.lent(), 0);
    check("that context can be freed", iommu.free_context(context, FreeFlags::REATTACH_DEFAULT));
}

/// What the disk is not to have reached.
const SECRET: u8 = 0xa5;

fn is_secret(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == SECRET)
}

/// Makes a request with guest addresses, or such a distance from them, instead of bus addresses.
fn misled<R>(distance: u64, request: impl FnOnce() -> R) -> R {
    MISLEAD.store(distance, Ordering::Relaxed);
    let outcome = request();
    MISLEAD.store(HONEST, Ordering::Relaxed);
    outcome
}

/// Long requests, most of them to read, with bus frames from all over the aperture that nobody mapped.
fn astray(disk: &mut Disk, half: usize, buffer: &mut [u8]) -> Result<(), Wrong> {
    buffer.fill(SECRET);
    let buffer = &mut buffer[..MOST * SECTOR_SIZE];
    (0..ASTRAY).try_for_each(|request| {
        let spread = (request as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Between 2^40, above all that is reserved, and 2^47.
        let distance = (spread >> 17 | 1 << 40) & !(PAGE as u64 - 1);
        let outcome = misled(distance, || match request % 4 {
            3 => disk.write(half, buffer, PATIENCE),
            _ => disk.read(request * 31 % (half - MOST), buffer, PATIENCE),
        });
        outcome.map_err(|error| Wrong { request, outcome: Err(error) })
    })
}

/// The first request that went wrong, and how.
#[derive(Debug)]
pub struct Wrong {
    #[expect(dead_code, reason = "printed")]
    request: usize,
    #[expect(dead_code, reason = "printed")]
    outcome: Result<(), Error>,
}

fn requests(disk: &mut Disk, half: usize, buffer: &mut [u8]) -> Result<(), Wrong> {
    (0..REQUESTS).try_for_each(|request| one(disk, request, half, buffer))
}

fn some_requests(disk: &mut Disk, half: usize, buffer: &mut [u8]) -> Result<(), Wrong> {
    (0..REQUESTS / 10).try_for_each(|request| one(disk, request, half, buffer))
}

/// A request of a size, a place and a buffer that differ from those before: it reads the pattern, or writes
/// and reads back.
fn one(disk: &mut Disk, request: usize, half: usize, buffer: &mut [u8]) -> Result<(), Wrong> {
    let wrong = |outcome| Wrong { request, outcome };
    // Short ones more often, and the longest now and then.
    let sectors = if request % 16 == 15 { MOST } else { 1 + request * 7 % (1 << (request % 7)) };
    let first = request * 61 % (half - sectors);
    // Anywhere: not at the begin of a page, and not at the begin of a word.
    let offset = request * 523 % (ROOM - sectors * SECTOR_SIZE);
    let buffer = &mut buffer[offset..][..sectors * SECTOR_SIZE];
    let right = if request.is_multiple_of(3) {
        let salt = request as u64 * 0x1_0000;
        fill(buffer, salt);
        disk.write(half + first, buffer, PATIENCE).map_err(|error| wrong(Err(error)))?;
        buffer.fill(0);
        disk.read(half + first, buffer, PATIENCE).map_err(|error| wrong(Err(error)))?;
        holds(buffer, salt)
    } else {
        buffer.fill(0);
        disk.read(first, buffer, PATIENCE).map_err(|error| wrong(Err(error)))?;
        holds(buffer, first as u64)
    };
    if right { Ok(()) } else { Err(wrong(Ok(()))) }
}

/// The words from the begin of sector `first` on.
fn pattern(first: u64) -> impl Iterator<Item = [u8; 8]> {
    let words = SECTOR_SIZE as u64 / 8;
    (0..).map(move |word: u64| {
        let (sector, within) = (first + word / words, word % words);
        (sector << 32 | within).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
    })
}

fn fill(buffer: &mut [u8], first: u64) {
    let (words, _) = buffer.as_chunks_mut();
    words.iter_mut().zip(pattern(first)).for_each(|(word, value)| *word = value);
}

fn holds(buffer: &[u8], first: u64) -> bool {
    let (words, _) = buffer.as_chunks();
    words.iter().zip(pattern(first)).all(|(word, value)| *word == value)
}
