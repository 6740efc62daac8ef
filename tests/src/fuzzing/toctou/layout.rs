//! Where the parts of a call lie in the memory of its caller, and what they hold before it.

use pviommu_abi::{
    AllocContext, AllocContextExt, AllocFlags, Background, Batch, BatchElement, BatchFlags,
    BatchOp, Bfn, ContextId, DeviceHandle, DomId, FlushPages, FreeContext, FreeFlags, GuestPtr,
    Init, Lookup, MapFlags, MapPages, OwnershipMode, QueryDevice, QueryLimits, QueryReserved,
    ReadFaults, ReattachDevice, RemoteCmd, Subop, TakeOwnership, UnmapPages,
};
use zerocopy::{Immutable, IntoBytes};

use super::input::Call;
use crate::{
    fuzzing::{
        batch,
        input::Element,
        world::{DEVICES, DOMAINS},
    },
    machine::{Board, PAGE_SIZE},
};

const PAGE: u64 = PAGE_SIZE as u64;

/// The argument lies over the end of a page.
pub(super) const ARGUMENT: u64 = 5 * PAGE - 20;
/// What `remote_cmd` carries.
pub(super) const INNER: u64 = 7 * PAGE;
/// What a question is answered into.
pub(super) const ANSWERS: u64 = 7 * PAGE + 0x800;
pub(super) use batch::{ELEMENTS, LIST};

/// Entries of the list that lies from [`LIST`] on.
const ENTRIES: u64 = 1024;

/// What a call can be; [`Call::what`] is an index.
pub(super) const CALLS: [Subop; 20] = [
    Subop::BATCH,
    Subop::MAP_PAGES,
    Subop::UNMAP_PAGES,
    Subop::BATCH,
    Subop::FREE_CONTEXT,
    Subop::REATTACH_DEVICE,
    Subop::ALLOC_CONTEXT,
    Subop::TAKE_OWNERSHIP,
    Subop::ALLOC_CONTEXT_EXT,
    Subop::FLUSH_PAGES,
    Subop::BATCH,
    Subop::LOOKUP,
    Subop::QUERY_LIMITS,
    Subop::QUERY_RESERVED,
    Subop::QUERY_DEVICE,
    Subop::READ_FAULTS,
    Subop::INIT,
    Subop::QUERY_CAPABILITIES,
    Subop::NOOP,
    Subop::MAP_PAGES,
];

/// A call whose parts are in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaidOut {
    pub(super) caller: DomId,
    /// What it does.
    pub(super) subop: Subop,
    /// It is done by `remote_cmd`, and `subop` is carried by that.
    pub(super) is_remote: bool,
}

impl LaidOut {
    /// What is in the register.
    pub(super) const fn register(&self) -> Subop {
        if self.is_remote { Subop::REMOTE_CMD } else { self.subop }
    }
}

/// Fills the list: pages in a row but for every eighth, each of the large region once in a page.
pub(super) fn fill_list(board: &Board) {
    let gfn = |i: u64| if i % 8 == 7 { i / 8 % 12 } else { 0x200 + i * 5 % 512 };
    let list: Vec<u64> = (0..ENTRIES).map(gfn).collect();
    for domain in DOMAINS {
        board.guest_write(domain, LIST, list.as_bytes()).expect("the list is RAM");
    }
}

/// Writes the parts of a call into the memory of its caller.
pub(super) fn lay_out(board: &Board, call: &Call) -> LaidOut {
    let index = usize::from(call.caller & 1);
    let (caller, other) = (DOMAINS[index], DOMAINS[1 - index]);
    let for_other = call.caller & 4 != 0;
    let domid = if for_other { other } else { DomId::SELF };
    let subop = CALLS[usize::from(call.what) % CALLS.len()];
    let is_remote = for_other && !subop.is_extension();
    let put = |at: u64, bytes: &[u8]| board.guest_write(caller, at, bytes).expect("it is RAM");
    if is_remote {
        let subop = subop.0 as u16;
        let remote = RemoteCmd { domid, subop, arg: GuestPtr(INNER), ..RemoteCmd::default() };
        put(ARGUMENT, remote.as_bytes());
    }
    if subop == Subop::BATCH {
        let mut elements: Vec<_> = call.elements.iter().map(element).collect();
        // Output of all but the next one, so nobody may look at what stands there.
        let next = usize::from(call.flags & 2 != 0);
        for (number, element) in elements.iter_mut().enumerate() {
            element.done = u32::from(number != next);
        }
        put(ELEMENTS, elements.as_bytes());
    }
    put(if is_remote { INNER } else { ARGUMENT }, &argument(subop, call, domid));
    LaidOut { caller, subop, is_remote }
}

/// The element that the numbers stand for; grants are those that there are.
pub(super) fn element(asked: &Element) -> BatchElement {
    let element = batch::element(asked);
    let is_grant = element.op == BatchOp::MAP_GRANT;
    let page = if is_grant { grant(asked.page.into()) } else { element.page };
    BatchElement { page, status: 0, done: 0, ..element }
}

/// The reference of a grant, or of none: the first that a machine gives are 8 and 9.
pub(super) const fn grant(number: u16) -> u64 {
    8 + (number & 3) as u64
}

fn bytes<T: IntoBytes + Immutable>(argument: &T) -> Vec<u8> {
    argument.as_bytes().to_vec()
}

/// The argument of a subop, made of the numbers of a call.
fn argument(subop: Subop, call: &Call, domid: DomId) -> Vec<u8> {
    let first = call.elements.first().copied();
    let first = first.unwrap_or(Element { op: 1, flags: 3, bfn: 1 << 13, page: 8, nr: 1 });
    let range = batch::element(&Element { op: BatchOp::MAP.0 as u8, ..first });
    let context = ContextId(u16::from(call.context & 7));
    let ctx_id = u32::from(context.0);
    let (dev, flags) = (DEVICES[usize::from(call.flags & 3)], u32::from(call.flags));
    let device = DeviceHandle::pci(dev);
    match subop {
        Subop::INIT => bytes(&Init { max_ctx_no: flags, arena_order: flags }),
        Subop::ALLOC_CONTEXT => {
            let alloc_flags = AllocFlags::from_bits_retain(flags & 0xfe);
            bytes(&AllocContext { alloc_flags, ..AllocContext::default() })
        }
        Subop::FREE_CONTEXT => {
            let free_flags = FreeFlags::from_bits_retain(flags & 1);
            bytes(&FreeContext { ctx_no: context, free_flags, ..FreeContext::default() })
        }
        Subop::REATTACH_DEVICE => {
            bytes(&ReattachDevice { ctx_no: context, dev, ..ReattachDevice::default() })
        }
        Subop::MAP_PAGES => bytes(&MapPages {
            ctx_no: context,
            gfn: pviommu_abi::Gfn(range.page),
            dfn: range.bfn,
            map_flags: MapFlags::from_bits_retain(u32::from(first.flags)),
            nr_pages: range.nr,
            ..MapPages::default()
        }),
        Subop::UNMAP_PAGES => {
            let (dfn, nr_pages) = (range.bfn, range.nr);
            bytes(&UnmapPages { ctx_no: context, dfn, nr_pages, ..UnmapPages::default() })
        }
        Subop::FLUSH_PAGES => {
            let (dfn, nr_pages) = (range.bfn, range.nr);
            bytes(&FlushPages { ctx_no: context, dfn, nr_pages, ..FlushPages::default() })
        }
        Subop::BATCH => bytes(&Batch {
            ctx_id,
            flags: BatchFlags::from_bits_retain(flags & 1),
            domid,
            owner: if call.caller & 8 == 0 { DomId::SELF } else { DOMAINS[0] },
            nr_ops: call.elements.len() as u32,
            nr_done: u32::from(call.flags & 2 != 0).min(call.elements.len() as u32),
            ops: GuestPtr(ELEMENTS),
            ..Batch::default()
        }),
        Subop::QUERY_RESERVED => bytes(&QueryReserved {
            ctx_id,
            domid,
            nr_entries: u32::from(call.flags & 0xf),
            entries: GuestPtr(ANSWERS),
            ..QueryReserved::default()
        }),
        Subop::TAKE_OWNERSHIP => {
            let mode = OwnershipMode(u32::from(call.flags & 3));
            bytes(&TakeOwnership { domid, mode, ..TakeOwnership::default() })
        }
        Subop::LOOKUP => bytes(&Lookup { ctx_id, domid, bfn: range.bfn, ..Lookup::default() }),
        Subop::QUERY_DEVICE => bytes(&QueryDevice { domid, device, ..QueryDevice::default() }),
        Subop::READ_FAULTS => bytes(&ReadFaults {
            domid,
            nr_records: u32::from(call.flags & 0xf),
            records: GuestPtr(ANSWERS),
            ..ReadFaults::default()
        }),
        Subop::QUERY_LIMITS => bytes(&QueryLimits { ctx_id, domid, ..QueryLimits::default() }),
        Subop::ALLOC_CONTEXT_EXT => bytes(&AllocContextExt {
            domid,
            background: Background(flags & 3),
            aperture_last: Bfn(if call.flags & 4 == 0 { 0 } else { 0x1_ffff }),
            ..AllocContextExt::default()
        }),
        _ => Vec::new(),
    }
}
