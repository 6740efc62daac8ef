//! Sequences to start from: what tests of the contract do, with calls that stand and calls that fail.

use pviommu_abi::{Background as Wire, OwnershipMode};
use pviommu_hypervisor::{
    Background,
    platform::{Access, AcquireError},
};

use super::traces;
use crate::{
    machine::{Half, Step, UnitKind, When},
    model::{Ask, By, Change, Event, Fault, Item, Kind, Machine, Op, Place, Sequence},
};

/// The seeds of the target, with the names of their files.
///
/// # Panics
/// If no bytes stand for one of them.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let machines: [(&str, &[u8], Kind); 3] = [
        ("", &[], Kind { unit: UnitKind::Vtd, background: Background::Scratch }),
        // Two units, the second a poor one; every third look says to give way.
        (
            "-poor",
            &[0, 0, 2, 0, 1, 1, 4, 1, 0, 2, 2],
            Kind { unit: UnitKind::Vtd, background: Background::Fault },
        ),
        (
            "-amd",
            &[0, 0, 3, 1, 2, 0, 5, 0, 0, 3, 1],
            Kind { unit: UnitKind::AmdVi, background: Background::Scratch },
        ),
    ];
    let seed = |(name, events): (String, Vec<Event>)| {
        // By its name, so that it stays on its machine whatever is added.
        let number = name.bytes().map(usize::from).sum::<usize>() % machines.len();
        let (suffix, bytes, kind) = machines[number];
        let sequence = Sequence { machine: Machine::from_bytes(bytes, kind), events };
        let bytes = sequence.to_bytes().expect("all of it is among the choices");
        (format!("{name}{suffix}"), bytes)
    };
    sequences().into_iter().chain(traces::sequences()).map(seed).collect()
}

pub(super) fn map(dom: usize, bfn: u64, pages: u32, gfn: u64) -> Op {
    map_by(By::Alone, dom, bfn, pages, gfn)
}

pub(super) fn map_by(by: By, dom: usize, bfn: u64, pages: u32, gfn: u64) -> Op {
    let (ctx, at, access) = (1, Place::Number(bfn), Access::all());
    Op::Map { dom, ctx, at, pages, gfn, access, by }
}

pub(super) fn unmap(dom: usize, bfn: u64, pages: u32) -> Op {
    let (ctx, at) = (1, Place::Number(bfn));
    Op::Unmap { dom, ctx, at, pages, skip_holes: false, alone: true }
}

fn later(dom: usize, bfn: u64, pages: u32, then: Op) -> Op {
    let (ctx, at) = (1, Place::Number(bfn));
    Op::Later { dom, ctx, at, pages, then: Box::new(then) }
}

/// Rows of single pages among others.
fn batch(run_all: bool) -> Op {
    let at = Place::Number;
    let access = Access::all();
    let items = vec![
        Item::Map { times: 20, at: at(0x1fe), pages: 1, gfn: 0x200, access },
        Item::Map { times: 2, at: at(0x40), pages: 3, gfn: 0x20, access },
        Item::Unmap { times: 8, at: at(0x200), pages: 1, skip_holes: true },
        Item::Unmap { times: 1, at: at(0x40), pages: 5, skip_holes: false },
    ];
    Op::Batch { dom: 1, ctx: 1, run_all, items }
}

fn attach(dom: usize, device: usize, ctx: u16) -> Op {
    Op::Attach { dom, device, ctx }
}

fn take(dom: usize, mode: OwnershipMode) -> Op {
    Op::Take { dom, mode, background: Wire::DEFAULT }
}

fn change(dom: usize, gfn: u64, pages: u64, change: Change) -> Op {
    Op::Change { dom, gfn, pages, change }
}

fn dma(device: usize, bfn: u64) -> Event {
    Event::Dma { device, at: Place::Number(bfn), pages: 2 }
}

pub(super) fn begin(cpu: usize, op: Op) -> Event {
    Event::Begin { op, cpu, entries: 1 }
}

pub(super) fn go_on(number: usize, entries: u32) -> Event {
    Event::GoOn { number, entries, fault: None }
}

fn failing(op: Op, step: Step, nth: u64, half: Half) -> Event {
    let (reason, yields) = (AcquireError::NotBacked, When::Every(2));
    Event::Failing(op, Fault { step, nth, reason, half, yields, patience: None }, false)
}

/// A guest forgets the call, or dies while it stands.
fn forgotten(op: Op, entries: u32, dies: bool) -> Event {
    let (step, nth, reason, half) = (Step::CopyIn, 7, AcquireError::Retry, Half::Nothing);
    let (yields, patience) = (When::Every(1), Some(entries));
    Event::Failing(op, Fault { step, nth, reason, half, yields, patience }, dies)
}

fn plain(ops: impl IntoIterator<Item = Op>) -> Vec<Event> {
    ops.into_iter().map(Event::Plain).collect()
}

fn sequences() -> Vec<(String, Vec<Event>)> {
    let groups = [edits(), standing(), devices(), pages(), failures()];
    groups.into_iter().flatten().map(|(name, events)| (name.into(), events)).collect()
}

fn edits() -> Vec<(&'static str, Vec<Event>)> {
    let each = [By::Alone, By::Batch, By::List, By::BatchOf(1)];
    vec![
        (
            "life",
            vec![
                dma(0, 0x40),
                Event::Plain(map(1, 0x40, 4, 8)),
                dma(0, 0x40),
                Event::Plain(unmap(1, 0x41, 2)),
                dma(0, 0x40),
            ],
        ),
        ("every-call", plain(each.map(|by| map_by(by, 0, 0x3fd, 4, 0x3e)))),
        (
            "large-leaf",
            plain([unmap(1, 0x5f8, 8), map(1, 0x600, 0x200, 0x200), unmap(1, 0x400, 0x200)]),
        ),
        ("over-each-other", plain([map(1, 2, 4, 8), unmap(1, 1, 4), map(1, 0, 4, 2)])),
        ("batch", plain([batch(false), batch(true), map(1, 0x41, 1, 8), batch(true)])),
        (
            "leaf-is-split",
            vec![dma(0, 0x400), dma(0, 0x5fe), Event::Plain(unmap(1, 0x410, 4)), dma(0, 0x410)],
        ),
        (
            "table-goes",
            vec![
                Event::Plain(map(1, 0x5000, 4, 8)),
                dma(0, 0x5000),
                Event::Plain(unmap(1, 0x5000, 4)),
                Event::Plain(Op::Trim { dom: 1 }),
            ],
        ),
        (
            "deferred",
            plain([
                later(1, 0, 4, map(1, 0, 4, 2)),
                later(1, 0x400, 0x200, attach(1, 0, 0)),
                later(0, 0x1ff, 2, change(0, 0x20, 1, Change::Balloon)),
            ]),
        ),
    ]
}

fn standing() -> Vec<(&'static str, Vec<Event>)> {
    let large = || map(1, 0x600, 0x200, 0x200);
    let meanwhile = |ops: Vec<Op>| {
        let mut events = vec![begin(1, large()), begin(2, unmap(1, 0x400, 0x200))];
        events.extend(plain(ops));
        let rest = [go_on(0, 1), go_on(0, 1), dma(0, 0x6ff), go_on(1, 2), go_on(0, u32::MAX)];
        events.extend(rest);
        events
    };
    let free = Op::Free { dom: 1, ctx: 1, reattach: true };
    vec![
        ("stand-alone", meanwhile(vec![])),
        (
            "stand-edited",
            meanwhile(vec![map(1, 0x7fe, 4, 2), unmap(1, 0x400, 4), unmap(1, 0x600, 4)]),
        ),
        ("stand-moved", meanwhile(vec![attach(1, 0, 0), attach(1, 0, 1)])),
        ("stand-freed", meanwhile(vec![free])),
        ("stand-dead", meanwhile(vec![Op::Kill { dom: 1 }])),
        ("stand-taken", meanwhile(vec![take(1, OwnershipMode::CLEAR)])),
        ("stand-trimmed", meanwhile(vec![unmap(1, 0, 4), Op::Trim { dom: 1 }])),
        ("stand-ballooned", meanwhile(vec![change(1, 0x2fe, 4, Change::Balloon)])),
        ("stand-exchanged", meanwhile(vec![change(1, 0x200, 0x180, Change::Exchange)])),
        (
            "stand-lists",
            vec![
                begin(1, map_by(By::List, 0, 0x600, 0x1ff, 0x200)),
                begin(2, map_by(By::Batch, 0, 0x5f8, 0x100, 0x200)),
                begin(1, map_by(By::List, 1, 0x601, 0x1ff, 0x200)),
                go_on(1, 1),
                go_on(0, 1),
                go_on(0, 2),
                go_on(0, u32::MAX),
            ],
        ),
    ]
}

fn devices() -> Vec<(&'static str, Vec<Event>)> {
    let assign = |dom, device| Op::Assign { dom, device };
    let unassign = |dom, device| Op::Unassign { dom, device };
    let alloc = |dom, background| Op::Alloc { dom, background, aperture: (0, 0) };
    let unmap_after_dma = |devices: &[usize]| {
        let mut events: Vec<_> = devices.iter().map(|device| dma(*device, 2)).collect();
        events.push(Event::Plain(unmap(1, 0, 4)));
        events
    };
    let mut both_units = plain([unassign(0, 1), assign(1, 1), attach(1, 1, 1)]);
    both_units.extend(unmap_after_dma(&[0, 1]));
    vec![
        ("both-units", both_units),
        ("freed-with-devices", plain([Op::Free { dom: 1, ctx: 1, reattach: false }])),
        ("over-a-range", plain([attach(1, 3, 1), map(1, 0x8000, 4, 2), map(1, 0x7ffe, 4, 2)])),
        (
            "not-its-own",
            plain([
                attach(1, 3, 1),
                Op::Map {
                    dom: 2,
                    ctx: 0,
                    at: Place::Number(0x40),
                    pages: 1,
                    gfn: 2,
                    access: Access::all(),
                    by: By::Alone,
                },
            ]),
        ),
        (
            "switch",
            plain([
                take(1, OwnershipMode::CLEAR),
                Op::Map {
                    dom: 1,
                    ctx: 0,
                    at: Place::Number(3),
                    pages: 4,
                    gfn: 3,
                    access: Access::READ,
                    by: By::Batch,
                },
                attach(1, 0, 0),
                take(1, OwnershipMode::GIVE_BACK),
                take(0, OwnershipMode::KEEP),
                take(0, OwnershipMode::GIVE_BACK),
            ]),
        ),
        (
            "moves",
            plain([
                alloc(1, Wire::FAULT),
                alloc(1, Wire::SCRATCH),
                attach(1, 0, 2),
                attach(1, 0, 3),
                attach(1, 3, 2),
                attach(1, 0, 2),
                Op::Free { dom: 1, ctx: 2, reattach: true },
                Op::Free { dom: 1, ctx: 3, reattach: false },
            ]),
        ),
        (
            "change-of-owner",
            plain([
                unassign(1, 0),
                assign(0, 0),
                attach(0, 0, 1),
                unassign(2, 2),
                assign(1, 2),
                attach(1, 2, 1),
                unassign(1, 3),
                assign(2, 3),
            ]),
        ),
        (
            "range-in-the-way",
            plain([map(1, 0x8000, 1, 2), attach(1, 3, 1), unmap(1, 0x8000, 1), attach(1, 3, 1)]),
        ),
        (
            "ends",
            vec![
                Event::Plain(Op::Kill { dom: 1 }),
                Event::Ask(1, Ask::Noop, None),
                Event::Plain(map(1, 2, 1, 2)),
                Event::Plain(assign(0, 0)),
                Event::Plain(attach(0, 0, 1)),
            ],
        ),
        (
            "questions",
            vec![
                Event::Ask(1, Ask::Lookup { ctx: 1, bfn: 2 }, None),
                Event::Ask(1, Ask::Reserved { ctx: 0 }, None),
                Event::Ask(0, Ask::Remote { of: 1, ctx: 1 }, None),
                Event::Ask(1, Ask::Flush { ctx: 1, bfn: 0, pages: 4 }, None),
                Event::Ask(2, Ask::Faults, None),
                Event::Ask(0, Ask::Quarantine { device: 0 }, None),
            ],
        ),
    ]
}

fn pages() -> Vec<(&'static str, Vec<Event>)> {
    let changes = |dom| {
        vec![
            change(dom, 2, 2, Change::Balloon),
            change(dom, 2, 1, Change::Populate),
            change(dom, 0x200, 0x180, Change::Exchange),
            change(dom, 0x3fe, 4, Change::Access(Access::READ)),
        ]
    };
    let map_grant = |other, bfn| Op::MapGrant {
        other,
        ctx: 1,
        at: Place::Number(bfn),
        grant: 0,
        access: Access::READ,
    };
    vec![
        ("maintained", plain(changes(2))),
        ("maintained-by-frame", plain(changes(0))),
        ("mapped-and-changed", plain([map(1, 0x40, 4, 2)].into_iter().chain(changes(1)))),
        (
            "grant",
            plain([
                Op::Grant { dom: 1, gfn: 2, to: 2, read_only: true },
                map_grant(None, 0x40),
                map_grant(Some(0), 0x40),
                Op::EndGrant { grant: 0 },
                change(1, 2, 1, Change::Balloon),
                unmap(2, 0x40, 1),
                Op::EndGrant { grant: 0 },
                Op::CloseGrant { grant: 0 },
            ]),
        ),
        (
            "foreign",
            plain([
                Op::MapForeign { dom: 0, gfn: 0x1000, of: 1, of_gfn: 2, read_only: false },
                map(0, 0x40, 1, 0x1000),
                Op::UnmapForeign { number: 0, none: None },
                Op::Retarget { dom: 0, of: 1, gfn: 2, what_left: false },
                Op::UnmapForeign { number: 0, none: None },
            ]),
        ),
        (
            "registers",
            plain([
                map(1, 0x40, 2, 0x2000),
                Op::Revoke { number: 0, other: None },
                Op::Revoke { number: 0, other: Some((0, 1, 0x2000)) },
            ]),
        ),
    ]
}

fn failures() -> Vec<(&'static str, Vec<Event>)> {
    let [nothing, done] = [Half::Nothing, Half::Done];
    let map = || map_by(By::Batch, 1, 0x3fe, 4, 0x3e);
    let alloc = |dom| Op::Alloc { dom, background: Wire::DEFAULT, aperture: (0, 0) };
    let large = || super::seeds::map(1, 0x600, 0x200, 0x200);
    vec![
        (
            "no-table",
            vec![
                failing(large(), Step::Alloc, 1, nothing),
                failing(map(), Step::Reserve, 1, nothing),
            ],
        ),
        (
            "no-page",
            vec![
                failing(large(), Step::AcquirePage, 5, nothing),
                failing(map(), Step::Acquire, 1, nothing),
            ],
        ),
        (
            "no-answer",
            vec![
                failing(map(), Step::CopyOut, 1, nothing),
                failing(map(), Step::CopyIn, 2, nothing),
            ],
        ),
        (
            "faults-after-a-failure",
            vec![failing(large(), Step::CopyIn, 1, nothing), Event::Ask(1, Ask::Faults, None)],
        ),
        (
            "context-after-a-failed-unit",
            vec![
                failing(unmap(0, 0x400, 1), Step::Invalidate, 1, nothing),
                failing(alloc(1), Step::Alloc, 2, nothing),
                Event::Plain(Op::Unassign { dom: 1, device: 3 }),
                Event::Ask(1, Ask::Flush { ctx: 2, bfn: 0x27d, pages: 1 }, None),
            ],
        ),
        ("context-unheard-of", vec![failing(alloc(1), Step::CopyOut, 1, nothing)]),
        ("nothing-deferred", vec![Event::Plain(later(1, 0x40, 1, alloc(1)))]),
        (
            "hook",
            vec![
                failing(map(), Step::Policy, 1, nothing),
                failing(map(), Step::Policy, 1, nothing),
            ],
        ),
        (
            "flush-fails",
            vec![
                failing(unmap(1, 0x400, 0x200), Step::Invalidate, 1, nothing),
                Event::Plain(map()),
            ],
        ),
        (
            "flush-fails-done",
            vec![
                failing(unmap(1, 1, 2), Step::Invalidate, 1, done),
                Event::Plain(Op::Kill { dom: 1 }),
            ],
        ),
        (
            "refused",
            vec![
                failing(attach(1, 0, 0), Step::AttachRefused, 1, nothing),
                Event::Plain(attach(1, 0, 0)),
            ],
        ),
        (
            "move-fails",
            vec![
                failing(take(1, OwnershipMode::CLEAR), Step::Attach, 1, done),
                Event::Plain(attach(0, 1, 0)),
            ],
        ),
        (
            "no-room-for-a-split",
            vec![failing(change(2, 0x210, 1, Change::Balloon), Step::Alloc, 1, nothing)],
        ),
        (
            "forgotten",
            vec![
                forgotten(large(), 2, false),
                forgotten(unmap(1, 0x400, 0x200), 1, false),
                Event::Plain(large()),
            ],
        ),
        (
            "dies-in-a-switch",
            vec![forgotten(take(1, OwnershipMode::CLEAR), 1, true), Event::Plain(attach(0, 1, 0))],
        ),
        ("dies-in-a-free", vec![forgotten(Op::Free { dom: 0, ctx: 1, reattach: true }, 1, false)]),
    ]
}
