//! Two processors that edit one context at once, while a device works in it.
//!
//! Each maps, looks up and unmaps ranges of its own, and both fight over one. Nothing of the one's may ever
//! be gone or changed by the other, and the device always reaches the page that is mapped for it.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pviommu_abi::{Background, Bfn, ContextId, Errno, Gfn, MapFlags};
use pviommu_guest::{Error, IommuClient, MapError, Vmmcall};
use spin::Once;

use super::{
    edu::{absent, context_for},
    shared,
};
use crate::{
    check::{check, check_eq},
    clock,
    edu::Edu,
    memory::Shared,
    xen::{halt, transport},
};

/// Far longer than the other takes.
pub const PATIENCE: u64 = 15 * clock::SECOND;
const ROUNDS: u64 = 2000;
const PAGES: u32 = 24;
const ACCESS: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
/// Both map and unmap these.
const FOUGHT_OVER: Bfn = Bfn(0x9_0000);
/// The device copies from and to these.
const DEVICE: Bfn = Bfn(0x12_3456);
const PLACES: (u64, u64) = (DEVICE.0 << 12, (DEVICE.0 + 1) << 12);

struct Work {
    context: ContextId,
    memory: Shared,
}

static WORK: Once<Work> = Once::new();
/// Rounds that each processor has done.
static DONE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// What went wrong first, on the processor that cannot tell.
static WRONG: AtomicU32 = AtomicU32::new(0);

/// Runs it on one of the two.
pub fn run(processor: u64) {
    if processor != 0 {
        clock::wait(PATIENCE, || WORK.get().is_some());
        if WORK.get().is_none_or(|work| rounds(1, work).is_err()) {
            WRONG.store(1, Ordering::SeqCst);
        }
        shared::second();
        // The first one ends the domain.
        halt();
    }
    let iommu = IommuClient::new(transport());
    let edu = Edu::all().next().expect("the guest was given an edu");
    let context = context_for(&iommu, edu.device, Background::FAULT).expect("it can be moved");
    let memory = Shared::take(PAGES as usize);
    let device = Shared::take(2);
    for (page, access) in [(0, MapFlags::READABLE), (1, MapFlags::WRITEABLE)] {
        let bfn = Bfn(DEVICE.0 + page);
        iommu.map(context, bfn, device.frame(page as usize), 1, access).expect("it can be mapped");
    }
    let mut copied = 0;
    let work = WORK.call_once(|| Work { context, memory });
    let mut outcome = Ok(());
    let mut device_wrong = None;
    for round in 0..ROUNDS {
        outcome = outcome.and_then(|()| one_round(0, round, work, &iommu));
        DONE[0].store(round + 1, Ordering::SeqCst);
        // Whenever the device is done it is given something else.
        if !edu.is_busy() {
            device_wrong = device_wrong.or(exchange(&edu, device, PLACES, &mut copied));
        }
    }
    let other_is_done = || DONE[1].load(Ordering::SeqCst) == ROUNDS;
    let came = clock::wait(PATIENCE, || {
        if !edu.is_busy() {
            device_wrong = device_wrong.or(exchange(&edu, device, PLACES, &mut copied));
        }
        other_is_done()
    });
    check("the device ends", edu.finish());
    check("one processor edits beside the other", outcome);
    check_eq(
        "the other processor edits beside it",
        (came, WRONG.load(Ordering::SeqCst)),
        (true, 0),
    );
    check_eq("the device reaches its pages meanwhile", device_wrong, None);
    check_eq("the device worked meanwhile", copied > 2, true);
    let clear = |bfn: Bfn| iommu.lookup(context, bfn).map(|found| found.gfn) == absent();
    let ranges = [range_of(0), range_of(1), FOUGHT_OVER];
    let all_clear =
        ranges.iter().all(|range| (0..u64::from(PAGES)).all(|page| clear(Bfn(range.0 + page))));
    check_eq("nothing that was unmapped is left", all_clear, true);
    let left = iommu.lookup(context, DEVICE).map(|found| found.gfn);
    check_eq("what the device uses is left", is(left, device.frame(0)), true);
    check("and can be unmapped", iommu.unmap(context, DEVICE, 2));
    shared::first(&edu);
}

/// Looks whether the device copied what was there, and has it copy something else: first from the first
/// page, which is at `from` on the bus, then to the second, which is at `into`.
pub fn exchange(
    edu: &Edu,
    memory: Shared,
    (from, into): (u64, u64),
    copied: &mut u64,
) -> Option<(u64, u64)> {
    let mut wrong = None;
    if copied.is_multiple_of(2) {
        if *copied > 0 && memory.read(512) != *copied - 2 + 1 {
            wrong = Some((*copied, memory.read(512)));
        }
        memory.write(0, *copied + 1);
        edu.start_read(from, 8);
    } else {
        edu.start_write(into, 8);
    }
    *copied += 1;
    wrong
}

/// Whether a look-up found the frame, as far as the hypervisor knows which it is.
pub fn is(found: Result<Option<Gfn>, Error>, frame: Gfn) -> bool {
    found.is_ok_and(|found| found.is_none_or(|found| found == frame))
}

const fn range_of(processor: u64) -> Bfn {
    // Neighbours in one leaf table.
    Bfn(0x4_0000 + 64 * processor)
}

/// What a processor finds wrong.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
enum Wrong {
    Map(u64, MapError),
    Found(u64, Result<Option<Gfn>, Error>),
}

fn rounds(processor: u64, work: &Work) -> Result<(), Wrong> {
    let iommu = IommuClient::new(transport());
    for round in 0..ROUNDS {
        let outcome = one_round(processor, round, work, &iommu);
        DONE[processor as usize].store(round + 1, Ordering::SeqCst);
        outcome?;
    }
    Ok(())
}

fn one_round(
    processor: u64,
    round: u64,
    work: &Work,
    iommu: &IommuClient<Vmmcall>,
) -> Result<(), Wrong> {
    let (context, first) = (work.context, range_of(processor));
    let pages = 1 + (round * 7 % u64::from(PAGES)) as u32;
    iommu
        .map(context, first, work.memory.frame(0), pages, ACCESS)
        .map_err(|error| Wrong::Map(round, error))?;
    for page in [0, pages / 2, pages - 1] {
        let found = iommu.lookup(context, Bfn(first.0 + u64::from(page))).map(|found| found.gfn);
        if !is(found, work.memory.frame(page as usize)) {
            return Err(Wrong::Found(round, found));
        }
    }
    // Who comes late gets an error, and either may unmap what the other has mapped.
    let fought = iommu.map(context, FOUGHT_OVER, work.memory.frame(0), pages, ACCESS);
    let fought = fought.or_else(|error| lost(error, Errno::EADDRINUSE));
    fought.map_err(|error| Wrong::Map(round, error))?;
    let mut from = 0;
    while from < PAGES {
        let start = Bfn(FOUGHT_OVER.0 + u64::from(from));
        match iommu.unmap(context, start, PAGES - from) {
            Ok(_) => break,
            Err(error) => {
                // A hole is passed over; a page to be tried again is not.
                let hole = matches!(error.cause, Error::Refused(_));
                let done = lost(error, Errno::ENOENT).map_err(|error| Wrong::Map(round, error))?;
                from += done + u32::from(hole);
            }
        }
    }
    iommu.unmap(context, first, pages).map_err(|error| Wrong::Map(round, error))?;
    Ok(())
}

/// How many pages were done before the other processor's came in the way.
fn lost(error: MapError, expected: Errno) -> Result<u32, MapError> {
    match error.cause {
        Error::Refused(errno) if errno == expected => Ok(error.done),
        Error::Retry(_) => Ok(error.done),
        _ => Err(error),
    }
}
