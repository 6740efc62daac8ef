//! One hypercall with everything that is checked about it.

use pviommu_abi::{
    Bfn, ContextId, DomId, Errno, FreeContext, FreeFlags, MapFlags, MapPages, OwnershipMode,
    PciDevice, ReattachDevice, RemoteCmd, Subop, TakeOwnership, UnmapPages,
};
use pviommu_hypervisor::{Caller, Outcome, Width};
use zerocopy::FromBytes;

use super::{
    copies::{self, Listing},
    input::{Call, Place},
    world::{self, DEVICES, DOMAINS, RAM, World},
};
use crate::machine::{Board, Direction, PAGE_SIZE, Reach};

/// Continuations that no call on this machine needs: its pages at 256 a time, and its tables.
pub(super) const CONTINUATIONS: u32 = 1024;

/// Guest memory that is compared before and after.
const WINDOW: usize = 128;

const PAGE: u64 = PAGE_SIZE as u64;

/// A call as its target sees it.
struct Request {
    target: DomId,
    subop: Subop,
    argument: [u8; WINDOW],
}

/// Makes the call, continues it to its end, and checks it; the status.
pub(super) fn call(world: &mut World<'_>, call: &Call) -> i64 {
    let bed = world.bed;
    let board = bed.board();
    let domain = DOMAINS[usize::from(call.caller & 1)];
    let caller = Caller {
        cpu: usize::from(call.caller >> 1 & 3),
        width: if call.caller & 8 == 0 { Width::Bits64 } else { Width::Bits32 },
    };
    let at = match call.place {
        Place::Aligned => 2 * PAGE,
        Place::Straddling => 4 * PAGE - 12,
        Place::Leaving => RAM * PAGE - 12,
        Place::Raw(address) => address,
    };
    if call.caller & 16 == 0 {
        // Where no memory is, nothing is written; the call must cope with that, too.
        let _ = board.guest_write(domain, at, &call.argument);
    }
    let subop = Subop(call.subop);
    let request = request(board, domain, subop, at);
    let tables = bed.counters().table_frames_live;
    // What is above bit 31 of the register means nothing.
    let register = 0x5eed_f00d << 32 | u64::from(call.subop);
    for _ in 0..CONTINUATIONS {
        let before = window(board, domain, at);
        board.record_copies(true);
        let outcome = bed.iommu().iommu_op(bed.domain(domain), caller, register, at);
        board.record_copies(false);
        let copies = board.take_copies();
        let listing = match subop {
            Subop::QUERY_RESERVED => Some(Listing::reserved(&read(&before))),
            Subop::READ_FAULTS => Some(Listing::faults(&read(&before))),
            _ => None,
        };
        match listing {
            Some(asked) => copies::check_listing(&copies, &asked, domain, at),
            None => copies::check(&copies, subop, domain, at),
        }
        // An array may lie on top of what names it.
        let arrays = [Subop::REMOTE_CMD, Subop::BATCH, Subop::QUERY_RESERVED, Subop::READ_FAULTS];
        if !arrays.contains(&subop) {
            check_window(subop, &before, &window(board, domain, at));
        }
        if let Outcome::Done(status) = outcome {
            assert!(known(status), "{subop:?} returned {status}");
            if status == 0 {
                succeeded(world, &request);
            } else if matches!(request.subop, Subop::ALLOC_CONTEXT | Subop::ALLOC_CONTEXT_EXT) {
                let left = bed.counters().table_frames_live;
                assert_eq!(left, tables, "a context that nobody knows of (INV-53)");
            }
            return status;
        }
    }
    unreachable!("{subop:?} makes no progress");
}

/// Bytes of guest memory from `at` on, and zeros from the page on that is none.
fn window(board: &Board, domain: DomId, at: u64) -> [u8; WINDOW] {
    let mut bytes = [0; WINDOW];
    let in_page = usize::try_from(PAGE - at % PAGE).map_or(WINDOW, |rest| rest.min(WINDOW));
    let (first, second) = bytes.split_at_mut(in_page);
    if board.guest_read(domain, at, first).is_ok()
        && let Some(next) = at.checked_add(first.len() as u64)
    {
        // Where no memory is, the zeros stay.
        let _ = board.guest_read(domain, next, second);
    }
    bytes
}

fn request(board: &Board, domain: DomId, subop: Subop, at: u64) -> Request {
    let argument = window(board, domain, at);
    if subop != Subop::REMOTE_CMD {
        return Request { target: domain, subop, argument };
    }
    let remote = read::<RemoteCmd>(&argument);
    let target = if remote.domid == DomId::SELF { domain } else { remote.domid };
    let argument = window(board, domain, remote.arg.0);
    Request { target, subop: Subop(u32::from(remote.subop)), argument }
}

fn read<T: FromBytes>(bytes: &[u8; WINDOW]) -> T {
    let Ok((argument, _)) = T::read_from_prefix(bytes) else {
        unreachable!("arguments are shorter than the window")
    };
    argument
}

/// True if a status is one that a guest may see (INV-55).
pub(super) fn known(status: i64) -> bool {
    status == 0 || Errno::from_ret(status).is_some()
}

/// True if byte `i` of the argument of `subop` is written by the service.
pub(super) fn is_result(subop: Subop, i: usize) -> bool {
    match subop {
        Subop::QUERY_CAPABILITIES => i < 24,
        Subop::ALLOC_CONTEXT => i < 2,
        Subop::ALLOC_CONTEXT_EXT => (32..36).contains(&i),
        Subop::QUERY_DEVICE => (32..64).contains(&i),
        Subop::LOOKUP => (24..56).contains(&i),
        Subop::QUERY_LIMITS => (16..128).contains(&i),
        Subop::QUERY_RESERVED => (32..36).contains(&i),
        Subop::READ_FAULTS => (12..16).contains(&i) || (24..32).contains(&i),
        Subop::MAP_PAGES => (8..24).contains(&i) || (32..40).contains(&i),
        Subop::UNMAP_PAGES => (8..16).contains(&i) || (20..28).contains(&i),
        _ => false,
    }
}

/// INV-52: only what the subop writes has changed.
fn check_window(subop: Subop, before: &[u8; WINDOW], after: &[u8; WINDOW]) {
    for (i, (before, after)) in before.iter().zip(after).enumerate() {
        let may = is_result(subop, i);
        assert!(may || before == after, "{subop:?} changed byte {i} of its argument");
    }
}

/// Follows a call that succeeded.
fn succeeded(world: &mut World<'_>, request: &Request) {
    let board = world.bed.board();
    let owned = |index: usize| board.device_owner(DEVICES[index]) == Some(request.target);
    match request.subop {
        Subop::REATTACH_DEVICE => {
            let moved: ReattachDevice = read(&request.argument);
            let index = DEVICES.iter().position(|device| *device == moved.dev);
            world.contexts[index.expect("only a device that exists is moved")] = moved.ctx_no.0;
        }
        Subop::FREE_CONTEXT => {
            let freed: FreeContext = read(&request.argument);
            let stays = !freed.free_flags.contains(FreeFlags::REATTACH_DEFAULT);
            for index in 0..DEVICES.len() {
                if owned(index) && world.contexts[index] == freed.ctx_no.0 {
                    assert!(!stays, "a context was freed with a device in it (INV-45)");
                    world.contexts[index] = 0;
                }
            }
        }
        Subop::TAKE_OWNERSHIP => {
            let switch: TakeOwnership = read(&request.argument);
            let domid = switch.domid;
            let target = if domid == DomId::SELF { request.target } else { domid };
            let index = DOMAINS.iter().position(|domain| *domain == target);
            let index = index.expect("only a domain that exists takes over");
            world.taken[index] = switch.mode != OwnershipMode::GIVE_BACK;
        }
        Subop::UNMAP_PAGES => {
            let gone: UnmapPages = read(&request.argument);
            check_unmapped(world, &request.range(gone.ctx_no, gone.dfn, gone.nr_pages));
        }
        Subop::MAP_PAGES => {
            let map: MapPages = read(&request.argument);
            let edited = map.ctx_no.0 != 0 || world.has_taken(request.target);
            assert!(edited, "the default context was edited (INV-70)");
            // Else it is seen only after a flush.
            if !map.map_flags.contains(MapFlags::NO_FLUSH) {
                let range = request.range(map.ctx_no, map.dfn, map.nr_pages);
                check_mapped(world, &range, map.map_flags.contains(MapFlags::READABLE));
            }
        }
        _ => {}
    }
}

/// Bus frames of a context.
pub(super) struct Range {
    pub(super) target: DomId,
    pub(super) context: ContextId,
    pub(super) first: Bfn,
    pub(super) pages: u32,
}

impl Request {
    fn range(&self, context: ContextId, first: Bfn, pages: u32) -> Range {
        Range { target: self.target, context, first, pages }
    }
}

/// Attached devices reach what was mapped, and none of it is reserved (INV-30).
pub(super) fn check_mapped(world: &World<'_>, range: &Range, reads: bool) {
    let way = if reads { Direction::Read } else { Direction::Write };
    each_page(world, range, |device, address| {
        let reached = world.bed.dma_probe(device, address, way).map(|hit| hit.reach);
        let mapped = reached.is_ok_and(|reach| reach != Reach::Scratch);
        assert!(mapped, "bus address {address:#x} was mapped: {reached:?}");
        let reserved = world::reserved(device, Bfn(address >> 12));
        assert!(!reserved, "bus address {address:#x} is reserved (INV-30)");
    });
}

/// Attached devices find nothing, or the background, where something was unmapped (INV-03).
pub(super) fn check_unmapped(world: &World<'_>, range: &Range) {
    each_page(world, range, |device, address| {
        let reached = world.bed.dma_probe(device, address, Direction::Read).map(|hit| hit.reach);
        let background = reached.is_err() || reached == Ok(Reach::Scratch);
        assert!(background, "bus address {address:#x} was unmapped: {reached:?} (INV-03)");
    });
}

/// Calls `check` with the first, middle and last address of a range, for each device that is in
/// its context.
fn each_page(world: &World<'_>, range: &Range, check: impl Fn(PciDevice, u64)) {
    let Some(last) = u64::from(range.pages).checked_sub(1) else { return };
    for (device, inside) in DEVICES.into_iter().zip(world.contexts) {
        let owned = world.bed.board().device_owner(device) == Some(range.target);
        if owned && inside == range.context.0 {
            for page in [0, last / 2, last] {
                check(device, (range.first.0 + page) << 12);
            }
        }
    }
}
