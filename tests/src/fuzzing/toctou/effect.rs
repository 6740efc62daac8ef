//! What an entry has done, by what it read and what it told.

use pviommu_abi::{
    AllocContext, AllocContextExt, Bfn, ContextId, DomId, FreeContext, FreeFlags, MapFlags,
    MapPages, OwnershipMode, PciDevice, QueryReserved, ReadFaults, ReattachDevice, RemoteCmd,
    ReservedRange, Subop, TakeOwnership, UnmapPages, argument,
};
use pviommu_hypervisor::{Outcome, platform::Access};

use super::{
    array,
    log::{Argument, Log},
};
use crate::fuzzing::world::DOMAINS;

/// A context.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) domain: DomId,
    pub(super) context: u16,
}

/// One thing that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// These guest frames are at bus frames in a row.
    Mapped {
        place: Place,
        first: Bfn,
        of: Pages,
        access: Access,
        later: bool,
    },
    /// These bus frames lead nowhere. Some may have led nowhere before, with `holes`.
    Unmapped {
        place: Place,
        first: Bfn,
        pages: u64,
        holes: bool,
        later: bool,
    },
    /// Pages of a list were mapped, and nobody can tell which of two readings: these are all there are.
    Unclear {
        place: Place,
        of: Pages,
    },
    Opened(Place),
    Freed {
        place: Place,
        moves: bool,
    },
    Moved {
        place: Place,
        device: PciDevice,
    },
    Switched {
        domain: DomId,
        mode: OwnershipMode,
    },
}

/// What was mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    Guest { owner: DomId, gfns: Vec<u64> },
    Grant { granter: DomId, reference: u64 },
}

/// One entry into the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) caller: DomId,
    pub(super) outcome: Outcome,
}

impl Entry {
    pub(super) fn succeeded(&self) -> bool {
        self.outcome == Outcome::Done(0)
    }

    /// Whose contexts a call is about that names a domain.
    pub(super) fn target(&self, named: DomId) -> DomId {
        if named == DomId::SELF { self.caller } else { named }
    }
}

/// The size of a subop's argument; `None`: it has none that is read.
fn size(subop: Subop) -> Option<usize> {
    let unread = [Subop::QUERY_CAPABILITIES, Subop::NOOP];
    argument::info(subop).filter(|_| !unread.contains(&subop)).map(|info| info.size)
}

/// What an entry has done, whose copies are `log`.
pub(super) fn of(log: &mut Log<'_>, entry: &Entry, subop: Subop, at: u64) -> Vec<Effect> {
    if subop != Subop::REMOTE_CMD {
        return of_subop(log, entry, entry.caller, subop, at);
    }
    let Some(remote) = log.argument(subop, at, size_of::<RemoteCmd>()) else { return Vec::new() };
    let remote: RemoteCmd = remote.value();
    let inner = Subop(u32::from(remote.subop));
    let may = entry.caller == DOMAINS[0] && inner != Subop::REMOTE_CMD && !inner.is_extension();
    let target = entry.target(remote.domid);
    let exists = DOMAINS.contains(&target);
    if may && exists { of_subop(log, entry, target, inner, remote.arg.0) } else { Vec::new() }
}

/// The same of a call about the contexts of `target`, unless its argument names another domain.
fn of_subop(log: &mut Log<'_>, entry: &Entry, target: DomId, subop: Subop, at: u64) -> Vec<Effect> {
    let Some(size) = size(subop) else {
        if subop == Subop::QUERY_CAPABILITIES {
            log.written(at, 24);
        }
        return Vec::new();
    };
    let Some(argument) = log.argument(subop, at, size) else { return Vec::new() };
    let place = |context: ContextId| Place { domain: target, context: context.0 };
    let done = entry.succeeded();
    match subop {
        Subop::MAP_PAGES => mapped(log, done, place, &argument).into_iter().collect(),
        Subop::UNMAP_PAGES => unmapped(log, done, place, &argument).into_iter().collect(),
        Subop::BATCH => array::batch(log, entry, &argument),
        Subop::ALLOC_CONTEXT => {
            let told = log.result(subop, &argument).filter(|_| done);
            told.map(|told| Effect::Opened(place(told.value::<AllocContext>().ctx_no)))
                .into_iter()
                .collect()
        }
        Subop::ALLOC_CONTEXT_EXT => {
            let told = log.result(subop, &argument).filter(|_| done);
            let opened = told.map(|told| {
                let told: AllocContextExt = told.value();
                let domain = entry.target(told.domid);
                let context = u16::try_from(told.ctx_id).expect("the number of a context");
                Effect::Opened(Place { domain, context })
            });
            opened.into_iter().collect()
        }
        Subop::FREE_CONTEXT => {
            let freed: FreeContext = argument.value();
            let moves = freed.free_flags.contains(FreeFlags::REATTACH_DEFAULT);
            vec![Effect::Freed { place: place(freed.ctx_no), moves }]
        }
        Subop::REATTACH_DEVICE => {
            let moved: ReattachDevice = argument.value();
            vec![Effect::Moved { place: place(moved.ctx_no), device: moved.dev }]
        }
        Subop::TAKE_OWNERSHIP => {
            let take: TakeOwnership = argument.value();
            vec![Effect::Switched { domain: entry.target(take.domid), mode: take.mode }]
        }
        Subop::QUERY_RESERVED => {
            let asked: QueryReserved = argument.value();
            let size = size_of::<ReservedRange>();
            answers(log, asked.entries.0, asked.nr_entries, size, at);
            log.result(subop, &argument);
            Vec::new()
        }
        Subop::READ_FAULTS => {
            let asked: ReadFaults = argument.value();
            answers(log, asked.records.0, asked.nr_records, ReadFaults::ELEM_SIZE as usize, at);
            log.result(subop, &argument);
            Vec::new()
        }
        _ => {
            log.result(subop, &argument);
            Vec::new()
        }
    }
}

/// An array of answers is written one by one, no more than were asked for.
fn answers(log: &mut Log<'_>, first: u64, most: u32, size: usize, argument: u64) {
    for number in 0..u64::from(most) {
        let at = first.wrapping_add(number * size as u64);
        let answer = Some(at) == log.peek(true).map(|seen| seen.copied.address);
        let is_argument =
            at == argument && log.peek(true).is_some_and(|seen| seen.copied.bytes != size);
        if !answer || is_argument || log.written(at, size).is_none() {
            return;
        }
    }
}

/// Pages are done in the order of a range, whose rest stands in the argument when the call is to go on.
fn mapped(
    log: &mut Log<'_>,
    done: bool,
    place: impl Fn(ContextId) -> Place,
    argument: &Argument,
) -> Option<Effect> {
    let asked: MapPages = argument.value();
    let told: MapPages = log.result(Subop::MAP_PAGES, argument)?.value();
    let pages = told.mapped.wrapping_sub(asked.mapped);
    assert!(pages <= asked.nr_pages, "{pages} of {} pages", asked.nr_pages);
    assert!(!done || pages == asked.nr_pages, "{pages} of {} pages", asked.nr_pages);
    check_rest(done, pages, (asked.dfn.0, asked.nr_pages), (told.dfn.0, told.nr_pages));
    let moved = told.gfn.0.wrapping_sub(asked.gfn.0);
    assert_eq!(moved, told.dfn.0.wrapping_sub(asked.dfn.0), "guest and bus frames go together");
    let gfns = (0..u64::from(pages)).map(|page| asked.gfn.0 + page).collect();
    let place = place(asked.ctx_no);
    let mut access = Access::empty();
    access.set(Access::READ, asked.map_flags.contains(MapFlags::READABLE));
    access.set(Access::WRITE, asked.map_flags.contains(MapFlags::WRITEABLE));
    let of = Pages::Guest { owner: place.domain, gfns };
    let later = asked.map_flags.contains(MapFlags::NO_FLUSH);
    Some(Effect::Mapped { place, first: asked.dfn, of, access, later })
}

fn unmapped(
    log: &mut Log<'_>,
    done: bool,
    place: impl Fn(ContextId) -> Place,
    argument: &Argument,
) -> Option<Effect> {
    let asked: UnmapPages = argument.value();
    let told: UnmapPages = log.result(Subop::UNMAP_PAGES, argument)?.value();
    let pages = told.unmapped.wrapping_sub(asked.unmapped);
    assert!(pages <= asked.nr_pages, "{pages} of {} pages", asked.nr_pages);
    assert!(!done || pages == asked.nr_pages, "{pages} of {} pages", asked.nr_pages);
    check_rest(done, pages, (asked.dfn.0, asked.nr_pages), (told.dfn.0, told.nr_pages));
    let (place, pages) = (place(asked.ctx_no), u64::from(pages));
    Some(Effect::Unmapped { place, first: asked.dfn, pages, holes: false, later: false })
}

/// The range in the argument moves on by what was done, or stays.
fn check_rest(done: bool, pages: u32, (bfn, left): (u64, u32), told: (u64, u32)) {
    let stays = told == (bfn, left);
    let moves = told == (bfn.wrapping_add(u64::from(pages)), left - pages);
    assert!(
        if done { stays } else { stays || moves },
        "{pages} pages are done, and left {told:x?}"
    );
}
