//! The functions of `struct pviommu_platform`, each of which asks the testbed's platform.
//!
//! The context is a [`Below`], which lives for as long as the machine.
#![expect(unsafe_code, reason = "these are C functions, called with pointers")]

mod units;

use std::{
    cell::{Cell, RefCell},
    ffi::{c_int, c_void},
};

use pviommu_abi::{Bfn, DomId, Errno, Gfn, GuestPtr, PciDevice};
use pviommu_capi::{
    Acquired, DomainRef, In, InitialPiece, PlatformTable, Range, RunOf, Shared, WantedPages,
    pviommu_runs_push,
};
use pviommu_hypervisor::{
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::{
        Access, AcquireError, Devices, ForeignHandle, GuestMemory, PageKind, PageOwnership, Pool,
        Run, Runs, TableFrames, Wanted,
    },
};
use pviommu_testbed::machine::{Board, Platform};

/// What is below the service.
pub(crate) struct Below<'a> {
    pub(crate) board: &'a Board,
    pub(crate) platform: Platform<'a>,
    pub(crate) domains: RefCell<Vec<(u16, DomainRef)>>,
    pub(crate) busy: Cell<bool>,
}

/// All of them.
pub(crate) const TABLE: PlatformTable = PlatformTable {
    copy_in: Some(copy_in),
    copy_out: Some(copy_out),
    acquire: Some(acquire),
    acquire_list: Some(acquire_list),
    release: Some(release),
    gfn_of: Some(gfn_of),
    initial_map: Some(initial_map),
    may_be_direct: Some(may_be_direct),
    alloc_table: Some(alloc_table),
    free_table: Some(free_table),
    reserve_tables: Some(reserve_tables),
    unreserve_tables: Some(unreserve_tables),
    alloc_scratch: Some(alloc_scratch),
    free_scratch: Some(free_scratch),
    table: Some(table),
    first_table: Some(first_table),
    publish: Some(publish),
    attach: Some(units::attach),
    block: Some(units::block),
    invalidate: Some(units::invalidate),
    sync_map: Some(units::sync_map),
    stop: Some(units::stop),
    restart: Some(units::restart),
    unit_failed: Some(units::unit_failed),
    resolve: Some(resolve),
    name_of: None,
    get_domain: Some(get_domain),
    put_domain: Some(put_domain),
    should_yield: Some(should_yield),
    allow: None,
};

fn below<'c>(context: *mut c_void) -> &'c Below<'c> {
    // SAFETY: `on_machine` hands a `Below` over that outlives the machine.
    unsafe { &*context.cast::<Below<'c>>() }
}

fn platform<'c>(context: *mut c_void) -> &'c Platform<'c> {
    &below(context).platform
}

fn status(done: bool) -> c_int {
    if done { 0 } else { Errno::EIO.to_status() }
}

fn tell<T>(to: *mut T, found: Option<T>) -> c_int {
    let Some(value) = found else { return Errno::ENOENT.to_status() };
    // SAFETY: the library gives room for a result.
    unsafe { to.write(value) };
    0
}

unsafe extern "C" fn copy_in(
    context: *mut c_void,
    domain: u16,
    from: u64,
    to: *mut c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: the library gives room for so many bytes.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
    status(platform(context).copy_in(DomId(domain), GuestPtr(from), to).is_ok())
}

unsafe extern "C" fn copy_out(
    context: *mut c_void,
    domain: u16,
    to: u64,
    from: *const c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: the library gives so many bytes.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
    status(platform(context).copy_out(DomId(domain), GuestPtr(to), from).is_ok())
}

fn run_of(run: &Run) -> RunOf {
    let (kind, handle) = match run.kind {
        PageKind::Ram => (0, 0),
        PageKind::Mmio => (1, 0),
        PageKind::Foreign(handle) => (2, handle.0),
        _ => panic!("a kind of page that C does not know"),
    };
    let (first, pages) = (run.frames.first().0, run.frames.pages());
    RunOf { first, pages, kind, access: u32::from(run.access.bits()), handle }
}

unsafe extern "C" fn acquire(
    context: *mut c_void,
    domain: u16,
    wanted: *const WantedPages,
    access: u32,
    runs: *mut Acquired,
) -> c_int {
    // SAFETY: the library gives a structure.
    let wanted = unsafe { wanted.read() };
    let (owner, domain) = (DomId(wanted.owner), DomId(domain));
    let gfns = GfnRange::of_pages(Gfn(wanted.first), wanted.pages).expect("pages are asked for");
    let wanted = match wanted.kind {
        0 => Wanted::Guest { owner, gfns },
        _ => Wanted::Grant { granter: owner, reference: wanted.first },
    };
    let access = Access::from_bits(u8::try_from(access).unwrap()).expect("an access is asked for");
    let mut found = Runs::new();
    let ended = platform(context).acquire(domain, wanted, access, &mut found);
    // SAFETY: it is called within `acquire`.
    unsafe { tell_acquired(context, domain, &found, ended, runs) }
}

unsafe extern "C" fn acquire_list(
    context: *mut c_void,
    domain: u16,
    owner: u16,
    gfns: *const u64,
    count: usize,
    access: u32,
    runs: *mut Acquired,
) -> c_int {
    // SAFETY: the library gives so many numbers.
    let gfns = unsafe { std::slice::from_raw_parts(gfns, count) };
    let gfns: Vec<Gfn> = gfns.iter().copied().map(Gfn).collect();
    let access = Access::from_bits(u8::try_from(access).unwrap()).expect("an access is asked for");
    let (domain, mut found) = (DomId(domain), Runs::new());
    let ended = platform(context).acquire_list(domain, DomId(owner), &gfns, access, &mut found);
    // SAFETY: it is called within `acquire_list`.
    unsafe { tell_acquired(context, domain, &found, ended, runs) }
}

/// Appends what the machine has acquired; what there is no room for goes back.
///
/// # Safety
///
/// `runs` is what the function that is under way was given.
unsafe fn tell_acquired(
    context: *mut c_void,
    domain: DomId,
    found: &Runs,
    ended: Result<(), AcquireError>,
    runs: *mut Acquired,
) -> c_int {
    for run in found.iter() {
        let told = run_of(&run);
        // SAFETY: `told` lives until the call returns.
        let told = unsafe { In::new(&raw const told) };
        // SAFETY: the caller's promise.
        let pushed = unsafe { pviommu_runs_push(runs, told) };
        if pushed == Errno::ENOBUFS.to_status() {
            if run.kind.is_held() {
                platform(context).release(domain, &run);
            }
        } else {
            assert_eq!(pushed, 0, "what was asked for is taken");
        }
    }
    match ended {
        Ok(()) => 0,
        Err(AcquireError::NotBacked) => Errno::ENOENT.to_status(),
        Err(AcquireError::Retry) => Errno::EAGAIN.to_status(),
        Err(AcquireError::Saturated) => Errno::EBUSY.to_status(),
        Err(_) => Errno::EPERM.to_status(),
    }
}

unsafe extern "C" fn release(context: *mut c_void, domain: u16, run: *const RunOf) {
    // SAFETY: the library gives a structure.
    let run = unsafe { run.read() };
    let kind = match run.kind {
        0 => PageKind::Ram,
        2 => PageKind::Foreign(ForeignHandle(run.handle)),
        kind => panic!("pages of kind {kind} are not released"),
    };
    let frames = MfnRange::of_pages(Mfn(run.first), run.pages).expect("pages are released");
    let access = Access::from_bits(u8::try_from(run.access).unwrap()).expect("an access");
    platform(context).release(DomId(domain), &Run { frames, kind, access });
}

unsafe extern "C" fn gfn_of(context: *mut c_void, domain: u16, mfn: u64, gfn: *mut u64) -> c_int {
    tell(gfn, platform(context).gfn_of(DomId(domain), Mfn(mfn)).map(|found| found.0))
}

unsafe extern "C" fn initial_map(
    context: *mut c_void,
    domain: u16,
    from: u64,
    piece: *mut InitialPiece,
) -> c_int {
    let found = platform(context).initial_map(DomId(domain), Bfn(from));
    let told = found.map(|run| InitialPiece {
        bfns: Range { first: run.bfns.first().0, last: run.bfns.last().0 },
        access: u32::from(run.access.bits()),
        reserved: 0,
    });
    tell(piece, told)
}

fn frames(first: u64, last: u64) -> MfnRange {
    MfnRange::new(Mfn(first), Mfn(last)).expect("a range of frames")
}

fn bus_frames(first: u64, last: u64) -> BfnRange {
    BfnRange::new(Bfn(first), Bfn(last)).expect("a range of bus frames")
}

unsafe extern "C" fn may_be_direct(context: *mut c_void, first: u64, last: u64) -> c_int {
    c_int::from(platform(context).may_be_direct(frames(first, last)))
}

fn pool(number: u32) -> Pool {
    match number {
        0 => Pool::Open,
        1 => Pool::Reserved,
        _ => panic!("pool {number}"),
    }
}

unsafe extern "C" fn alloc_table(
    context: *mut c_void,
    domain: u16,
    number: u32,
    mfn: *mut u64,
) -> c_int {
    tell(mfn, platform(context).alloc(DomId(domain), pool(number)).map(|frame| frame.0))
}

unsafe extern "C" fn free_table(context: *mut c_void, domain: u16, mfn: u64, number: u32) {
    platform(context).free(DomId(domain), Mfn(mfn), pool(number));
}

unsafe extern "C" fn reserve_tables(context: *mut c_void, domain: u16, frames: u32) -> c_int {
    status(platform(context).reserve(DomId(domain), frames))
}

unsafe extern "C" fn unreserve_tables(context: *mut c_void, domain: u16, frames: u32) {
    platform(context).unreserve(DomId(domain), frames);
}

unsafe extern "C" fn alloc_scratch(context: *mut c_void, domain: u16, mfn: *mut u64) -> c_int {
    tell(mfn, platform(context).alloc_scratch(DomId(domain)).map(|frame| frame.0))
}

unsafe extern "C" fn free_scratch(context: *mut c_void, domain: u16, mfn: u64) {
    platform(context).free_scratch(DomId(domain), Mfn(mfn));
}

unsafe extern "C" fn table(context: *mut c_void, mfn: u64) -> *mut u64 {
    let words = platform(context).table(Mfn(mfn));
    words.first().map_or(std::ptr::null_mut(), |_| words.as_ptr().cast_mut().cast())
}

unsafe extern "C" fn first_table(
    context: *mut c_void,
    first: u64,
    last: u64,
    mfn: *mut u64,
) -> c_int {
    tell(mfn, platform(context).first_table(frames(first, last)).map(|frame| frame.0))
}

unsafe extern "C" fn publish(context: *mut c_void, mfn: u64, first: u32, last: u32) {
    platform(context).publish(Mfn(mfn), first as usize, last as usize);
}

unsafe extern "C" fn resolve(
    context: *mut c_void,
    domain: u16,
    name: PciDevice,
    function: *mut PciDevice,
) -> c_int {
    tell(function, platform(context).resolve(DomId(domain), name))
}

unsafe extern "C" fn get_domain(context: *mut c_void, domain: u16) -> DomainRef {
    let domains = below(context).domains.borrow();
    domains.iter().find(|(id, _)| *id == domain).map_or(Shared::null(), |(_, found)| *found)
}

unsafe extern "C" fn put_domain(_: *mut c_void, domain: DomainRef) {
    assert!(!domain.is_null(), "what was not found is not given back");
}

unsafe extern "C" fn should_yield(context: *mut c_void) -> c_int {
    c_int::from(below(context).busy.get())
}
