//! Seeds about who has which device, and whose pages are mapped.

use pviommu_abi::{Background as Wire, OwnershipMode};
use pviommu_hypervisor::platform::Access;

use super::script::{attach, change, dma, map, map_grant, plain, take, unmap};
use crate::model::{Ask, By, Change, Event, Op, Place};

pub(super) fn devices() -> Vec<(&'static str, Vec<Event>)> {
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

pub(super) fn pages() -> Vec<(&'static str, Vec<Event>)> {
    let changes = |dom| {
        vec![
            change(dom, 2, 2, Change::Balloon),
            change(dom, 2, 1, Change::Populate),
            change(dom, 0x200, 0x180, Change::Exchange),
            change(dom, 0x3fe, 4, Change::Access(Access::READ)),
        ]
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
