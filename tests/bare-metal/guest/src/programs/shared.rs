//! Two processors and one space: both map and unmap through the same device, whose unmaps wait, while it
//! works in memory of its own.
//!
//! What one of them maps is where it was told, whatever the other does; and in the end nothing is mapped,
//! waits, or is lost.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use pviommu_abi::{Bfn, FreeFlags};
use pviommu_guest::{
    IommuClient,
    dma::{Deferred, Device, Direction, DmaError, DmaSpace, DmaStorage, Pending, Piece},
};
use spin::Once;

use super::smp::{PATIENCE, exchange, is};
use crate::{
    check::{check, check_eq},
    clock,
    edu::Edu,
    kernel::{self, Metal},
    memory::{PAGE, Shared},
    xen::transport,
};

/// Rounds of each processor, at least.
const ROUNDS: u64 = 1000;
/// Copies of the device in the meantime, at least. One takes longer than many rounds.
const COPIES: u64 = 3;
/// Most pages of a buffer.
const PAGES: usize = 6;
/// How many unmaps of a processor wait until it wants a buffer back.
const WAITING: usize = 40;

type Space = DmaSpace<'static, Metal>;
/// Pages that do not follow each other; those of 0 bytes are none.
type Scattered = [Piece; PAGES];

struct Work {
    space: &'static Space,
    device: Device<'static, Metal, Deferred>,
}

static STORAGE: DmaStorage<512, 2> = DmaStorage::new();
static SPACE: Once<Space> = Once::new();
static WORK: Once<Work> = Once::new();
/// The device has copied enough.
static ENOUGH: AtomicBool = AtomicBool::new(false);
/// Rounds that the second processor has done, once it has done all.
static DONE: AtomicU64 = AtomicU64::new(0);
/// What went wrong on it, which cannot tell.
static WRONG: AtomicU32 = AtomicU32::new(0);

/// What a processor finds wrong.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
enum Wrong {
    Mapping(u64, DmaError),
    Elsewhere(u64),
    Waits,
}

/// The first processor's part.
pub fn first(edu: &Edu) {
    let space = SPACE.call_once(|| DmaSpace::open(Metal::new(), &STORAGE).expect("it is there"));
    let device = space.attach(edu.device, u64::MAX).expect("it can be moved");
    let free = space.free_pages();
    // The device's own buffers are unmapped at once.
    let strict = space.attached(edu.device, u64::MAX).expect("it is in the space");
    let memory = Shared::take(2);
    let from = strict.map(memory.page(0), Direction::ToDevice).expect("it can be mapped");
    let into = strict.map(memory.page(1), Direction::FromDevice).expect("it can be mapped");
    let places = (from.address(), into.address());

    let (mut copied, mut device_wrong) = (0, None);
    let mut work_device = || {
        // Whenever the device is done it is given something else.
        if !edu.is_busy() {
            device_wrong = device_wrong.or(exchange(edu, memory, places, &mut copied));
            ENOUGH.store(copied >= COPIES, Ordering::SeqCst);
        }
    };
    let calls = kernel::calls();
    let work = WORK.call_once(|| Work { space, device: device.deferred() });
    let outcome = rounds(work, &mut work_device);
    let came = clock::wait(PATIENCE, || {
        work_device();
        DONE.load(Ordering::SeqCst) > 0
    });
    let all = outcome.as_ref().unwrap_or(&0) + DONE.load(Ordering::SeqCst);
    let calls = kernel::calls() - calls;
    check("the device ends beside a space that two share", edu.finish());
    check("one processor maps in it", outcome);
    let other = (came, WRONG.load(Ordering::SeqCst));
    check_eq("the other processor maps in it", other, (true, 0));
    check_eq("the device reaches its buffers meanwhile", device_wrong, None);
    check_eq("and works meanwhile", copied >= COPIES, true);
    check_eq("unmaps ride along with maps", calls < all * 5 / 4, true);
    check("unmap what the device reads", from.unmap());
    check("unmap what the device writes", into.unmap());
    let left = (space.free_pages(), space.lost_pages());
    check_eq("all bus frames are free again", left, (free, 0));
    let iommu = IommuClient::new(transport());
    let freed = iommu.free_context(space.context(), FreeFlags::REATTACH_DEFAULT);
    check("the context can be freed", freed);
}

/// The second processor's part.
pub fn second() {
    clock::wait(PATIENCE, || WORK.get().is_some());
    let outcome = WORK.get().map(|work| rounds(work, || ()));
    if !matches!(outcome, Some(Ok(_))) {
        WRONG.store(1, Ordering::SeqCst);
    }
    DONE.store(outcome.and_then(Result::ok).unwrap_or(1), Ordering::SeqCst);
}

/// Maps and unmaps until the device has copied enough, and does `between` in between; how many rounds.
fn rounds(work: &'static Work, mut between: impl FnMut()) -> Result<u64, Wrong> {
    let iommu = IommuClient::new(transport());
    let memory = Shared::take(PAGES);
    let mut waiting: [Option<Pending<'_, Metal, Scattered>>; WAITING] = [const { None }; WAITING];
    let (mut round, begin) = (0, clock::now());
    while round < ROUNDS || !(ENOUGH.load(Ordering::SeqCst) || clock::now() - begin > PATIENCE) {
        between();
        let wrong = |cause| Wrong::Mapping(round, cause);
        let slot = &mut waiting[round as usize % WAITING];
        if let Some(Err(waits)) = slot.take().map(Pending::try_take) {
            waits.take().map_err(|still| wrong(still.cause))?;
        }
        let pages = 1 + round as usize * 7 % PAGES;
        let mapped = work.device.map(scattered(memory, pages), Direction::Both);
        let mapping = mapped.map_err(|failed| wrong(failed.cause))?;
        for page in 0..pages {
            let bfn = Bfn::containing(mapping.address() + (page * PAGE) as u64);
            let found = iommu.lookup(work.space.context(), bfn).map(|found| found.gfn);
            if !is(found, memory.frame(PAGES - 1 - page)) {
                return Err(Wrong::Elsewhere(round));
            }
        }
        *slot = Some(mapping.unmap().map_err(|still| wrong(still.cause))?);
        round += 1;
    }
    work.space.flush().map_err(|cause| Wrong::Mapping(round, cause))?;
    if waiting.iter().flatten().all(Pending::is_safe) { Ok(round) } else { Err(Wrong::Waits) }
}

/// The last pages of some, in the wrong order.
fn scattered(memory: Shared, pages: usize) -> Scattered {
    core::array::from_fn(|page| match page < pages {
        true => memory.page(PAGES - 1 - page),
        false => Piece { address: 0, length: 0 },
    })
}
