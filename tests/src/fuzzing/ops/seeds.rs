//! Sequences to start from: what tests of the contract do, with calls that stand and calls that fail.

use pviommu_abi::OwnershipMode;
use pviommu_hypervisor::Background;

use super::{
    holdings,
    script::{
        attach, batch, begin, change, dma, failing, forgotten, go_on, later, map, map_by,
        map_grant, plain, row, take, unmap,
    },
    traces,
};
use crate::{
    machine::{Half, Step, UnitKind},
    model::{Ask, By, Change, Event, Kind, Machine, Op, Sequence},
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

fn sequences() -> Vec<(String, Vec<Event>)> {
    let groups = [edits(), standing(), holdings::devices(), holdings::pages(), failures()];
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
        // Over a background that no map has to be flushed for.
        ("mapped-before-the-flush", plain([later(1, 0, 4, map(1, 1, 2, 0x30))])),
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

fn failures() -> Vec<(&'static str, Vec<Event>)> {
    let [nothing, done] = [Half::Nothing, Half::Done];
    let large = || map(1, 0x600, 0x200, 0x200);
    let map = || map_by(By::Batch, 1, 0x3fe, 4, 0x3e);
    let alloc =
        |dom| Op::Alloc { dom, background: pviommu_abi::Background::DEFAULT, aperture: (0, 0) };
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
            "batch-fails",
            vec![
                failing(row(), Step::Alloc, 2, nothing),
                failing(batch(true), Step::AcquirePage, 7, nothing),
                failing(batch(false), Step::CopyIn, 2, nothing),
                forgotten(batch(false), 2, false),
                forgotten(batch(true), 3, false),
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
        (
            "grant-after-a-failed-unit",
            vec![
                Event::Plain(Op::Grant { dom: 1, gfn: 2, to: 1, read_only: false }),
                failing(unmap(2, 0x400, 4), Step::Invalidate, 1, nothing),
                begin(1, map_grant(None, 0x40)),
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
