//! Inputs to start from: one change at a time of what matters, and calls that give way.

use pviommu_abi::Subop;

use super::{
    input::{Call, Change, Input, Operation},
    layout::CALLS,
};
use crate::fuzzing::{
    input::Element,
    seeds_ext::{AT, FROM, IN_A_ROW, MAP, MAP_LIST, READ_WRITE, SKIP, UNMAP},
};

/// What other seeds have no element for.
const MAP_GRANT: u8 = 4;
/// 16 pages in front of the 256 bus frames of interrupts.
const IN_FRONT: u16 = 4 << 13;

/// Places of changes.
const ARGUMENT: u16 = 0;
const ELEMENT: u16 = 1 << 14;
const LIST: u16 = 2 << 14;
const RAW: u16 = 3 << 14;

/// Numbers of fields.
const MAP_BFN: u16 = 3;
const BATCH_CONTEXT: u16 = 2;
const BATCH_OWNER: u16 = 4;
const BATCH_COUNT: u16 = 5;
const BATCH_DONE: u16 = 6;
const BATCH_ARRAY: u16 = 9;
const ELEMENT_OP: u16 = 0;
const ELEMENT_FLAGS: u16 = 1;
const ELEMENT_BFN: u16 = 3;
const ELEMENT_PAGE: u16 = 4;
const ELEMENT_COUNT: u16 = 5;
const ELEMENT_DONE: u16 = 6;

/// One more, one less, of a count.
const MORE: u16 = 0x8001;
const LESS: u16 = 0x80ff;

fn call(subop: Subop, context: u8, flags: u8, elements: &[(u8, u8, u16, u8, u16)]) -> Call {
    let what = CALLS.iter().position(|it| *it == subop).expect("a call") as u8;
    let element = |&(op, flags, bfn, page, nr)| Element { op, flags, bfn, page, nr };
    let elements = elements.iter().map(element).collect();
    Call { caller: 1, what, context, flags, elements, changes: Vec::new() }
}

fn with(call: &Call, changes: &[(u8, u16, u16)]) -> Operation {
    let change = |&(after, place, value)| Change { after: after - 1, place, value };
    let changes = changes.iter().map(change).collect();
    Operation::Call(Call { changes, ..call.clone() })
}

/// The field of an argument.
const fn argument(field: u16) -> u16 {
    ARGUMENT | field << 1
}

const fn element(number: u16, field: u16) -> u16 {
    ELEMENT | number << 4 | field
}

fn on(machine: u8, operations: Vec<Operation>) -> Input {
    Input { machine, operations }
}

/// It is time to give way at every look.
const YIELDS: Operation = Operation::Fail { step: 0, form: 3, number: 0 };

/// A batch of what is common.
fn usual() -> Call {
    call(
        Subop::BATCH,
        1,
        1,
        &[
            (MAP, READ_WRITE, AT, FROM, 2),
            (MAP_LIST, READ_WRITE, AT + 4, 0, 12),
            (MAP, READ_WRITE, AT + 32, IN_A_ROW, 1),
            (MAP, READ_WRITE, AT + 33, IN_A_ROW + 1, 1),
            (MAP_GRANT, READ_WRITE, AT + 40, 0, 1),
            (UNMAP, 0, AT + 1, 0, 1),
            (UNMAP, 8, AT + 6, 0, 2),
            (6, 0, AT, 0, 1),
            (5, 0, AT, 0, 3),
        ],
    )
}

/// A batch that is not done in one entry.
fn long() -> Call {
    let elements = [
        (MAP, READ_WRITE, AT + 1, IN_A_ROW, 500),
        (MAP_LIST, READ_WRITE, AT + 0x400, 0, 600),
        (UNMAP, 0, AT + 1, 0, 500),
        (MAP, READ_WRITE, AT + 0x800, IN_A_ROW, 300),
    ];
    call(Subop::BATCH, 1, 1, &elements)
}

/// The seeds, with the names of their files.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Input)> {
    let range = |subop| call(subop, 1, 0, &[(MAP, READ_WRITE, AT + 1, IN_A_ROW, 500)]);
    let (map, unmap) = (range(Subop::MAP_PAGES), range(Subop::UNMAP_PAGES));
    let clear = call(Subop::UNMAP_PAGES, 1, 0, &[(0, 0, AT, 0, 0x3ff)]);
    let mut seeds = vec![
        ("quiet", on(0, vec![with(&usual(), &[]), with(&map, &[]), with(&unmap, &[])])),
        ("argument", on(0, all(&usual(), &[1, 2], ARGUMENT..argument(10), 2))),
        ("argument-of-map", on(16, all(&map, &[1, 2], ARGUMENT..argument(9), 2))),
        ("elements", on(0, all(&usual(), &[3, 4], ELEMENT..element(8, 7), 1))),
        ("list", on(0, list(&usual()))),
        ("long", on(0, vec![YIELDS, with(&long(), &[]), with(&clear, &[])])),
        ("goes-on-with-the-map", on(0, goes_on(&map, ARGUMENT..argument(9)))),
        (
            "goes-on-with-the-unmap",
            on(0, [vec![with(&map, &[])], goes_on(&unmap, ARGUMENT..argument(7))].concat()),
        ),
    ];
    seeds.extend([
        ("nr-done-back", on(0, vec![YIELDS, with(&long(), &[(8, argument(BATCH_DONE), LESS)])])),
        ("nr-done-on", on(0, vec![YIELDS, with(&long(), &[(5, argument(BATCH_DONE), MORE)])])),
        ("count-grows", on(0, vec![YIELDS, with(&long(), &[(5, argument(BATCH_COUNT), 80)])])),
        ("done-back", on(0, vec![YIELDS, with(&long(), &[(6, element(0, ELEMENT_DONE), 0)])])),
        ("done-on", on(0, vec![YIELDS, with(&long(), &[(6, element(0, ELEMENT_DONE), 400)])])),
        ("other-array", on(0, vec![YIELDS, with(&long(), &[(6, argument(BATCH_ARRAY), 4)])])),
        ("other-context", on(0, vec![YIELDS, with(&long(), &[(6, argument(BATCH_CONTEXT), 2)])])),
        ("other-owner", on(0, vec![YIELDS, with(&long(), &[(6, argument(BATCH_OWNER), 1)])])),
        ("other-list", on(0, vec![YIELDS, other_list()])),
        ("over-itself", on(0, over_itself())),
        ("into-reserved", on(16, into_reserved())),
        ("worse-unit", on(7, vec![YIELDS, with(&long(), &[(6, element(0, ELEMENT_BFN), AT + 3)])])),
        ("amd", on(128, vec![YIELDS, with(&long(), &[(6, element(1, ELEMENT_COUNT), LESS)])])),
        ("remote", on(0, remote())),
        ("contexts", on(0, contexts())),
        ("questions", on(0, questions())),
        ("no-memory", on(0, no_memory())),
    ]);
    seeds
}

/// Everything usual is unmapped again.
fn undo(caller: u8) -> Operation {
    let batch =
        call(Subop::BATCH, 1, 1, &[(UNMAP, SKIP, AT, 0, 0x3ff), (UNMAP, SKIP, 0, 0, 0x3ff)]);
    with(&Call { caller, ..batch }, &[])
}

/// A call for each field in `places`, which changes after these copies, and what undoes the call.
fn all(asked: &Call, after: &[u8], places: std::ops::Range<u16>, step: usize) -> Vec<Operation> {
    let mut operations = Vec::new();
    for place in places.step_by(step).take(15) {
        for after in after {
            operations.push(with(asked, &[(*after, place, 0x8001), (*after, place, 0x2003)]));
            operations.push(undo(asked.caller));
        }
    }
    operations
}

/// The same for entries of the list, before and after they are read.
fn list(asked: &Call) -> Vec<Operation> {
    let changes = [(3, LIST, 9), (3, LIST | 3, 0x4005), (4, LIST | 4, 0xf000), (4, LIST, 10)];
    let element = [(3, element(1, ELEMENT_PAGE), 0x8002), (3, element(1, ELEMENT_COUNT), 30)];
    let (others, raw) = (with(asked, &changes), with(asked, &[(3, RAW | 0x2000, 11)]));
    vec![others, undo(1), with(asked, &element), undo(1), raw]
}

/// A call of v7 that gives way, with each field changed behind the entry.
fn goes_on(asked: &Call, places: std::ops::Range<u16>) -> Vec<Operation> {
    let mut operations = vec![YIELDS];
    for place in places.step_by(2) {
        for value in [0x8001, AT + 2] {
            operations.push(with(asked, &[(2, place, value)]));
            if asked.elements.iter().any(|element| element.op == MAP) {
                operations.push(undo(asked.caller));
            }
        }
    }
    operations
}

/// A list whose element names another one when it goes on.
fn other_list() -> Operation {
    let list = call(Subop::BATCH, 1, 1, &[(MAP_LIST, READ_WRITE, AT, 0, 600)]);
    with(&list, &[(5, element(0, ELEMENT_PAGE), 0x8010), (6, element(0, ELEMENT_FLAGS), 1)])
}

/// What goes on is in front of what is reserved, and reaches into it.
fn into_reserved() -> Vec<Operation> {
    let map = call(Subop::MAP_PAGES, 1, 0, &[(MAP, READ_WRITE, AT + 1, IN_A_ROW, 500)]);
    let batch = with(&long(), &[(6, element(0, ELEMENT_BFN), IN_FRONT)]);
    vec![YIELDS, batch, undo(1), with(&map, &[(2, argument(MAP_BFN), IN_FRONT)])]
}

/// A list that lies in the array, and an array in the argument.
fn over_itself() -> Vec<Operation> {
    let elements = [(MAP_LIST, READ_WRITE, AT, 0, 12), (MAP, READ_WRITE, AT + 40, FROM, 1)];
    let batch = call(Subop::BATCH, 1, 1, &elements);
    let array = with(&batch, &[(1, argument(BATCH_ARRAY), 0x8000)]);
    vec![with(&batch, &[(3, element(0, ELEMENT_PAGE), 0xc003)]), array]
}

/// A guest maps what the hardware domain granted to it, and what it did not.
fn grants() -> Call {
    let grant = |bfn, number| (MAP_GRANT, READ_WRITE, AT + 0x200 + bfn, number, 1);
    let batch = call(Subop::BATCH, 1, 1, &[grant(0, 0), grant(1, 1), grant(2, 0), grant(2, 0)]);
    Call { caller: 1 | 8, ..batch }
}

/// The hardware domain acts for the guest.
fn remote() -> Vec<Operation> {
    let map = call(Subop::MAP_PAGES, 1, 0, &[(MAP, READ_WRITE, AT + 1, IN_A_ROW, 500)]);
    let remote = Call { caller: 4, ..map };
    let changes = [(1, 2, 0x13), (1, 0, 1), (2, 0, 0), (1, 6, 0x4000), (2, 3, AT + 3), (2, 11, 3)];
    let each = changes.iter().flat_map(|change| [with(&remote, &[*change]), undo(4)]);
    let batch = Call { caller: 4 | 8, ..usual() };
    std::iter::once(YIELDS)
        .chain(each)
        .chain([with(&batch, &[(2, argument(BATCH_OWNER), 2), (3, element(0, ELEMENT_OP), 2)])])
        .chain([undo(4), with(&grants(), &[(3, element(0, ELEMENT_PAGE), 0xc001)])])
        .collect()
}

/// Contexts come and go, and devices move, while their numbers change.
fn contexts() -> Vec<Operation> {
    let map = call(Subop::MAP_PAGES, 1, 0, &[(MAP, READ_WRITE, AT + 1, IN_A_ROW, 300)]);
    let one = |subop, context, flags| call(subop, context, flags, &[]);
    vec![
        with(&map, &[]),
        YIELDS,
        with(&one(Subop::REATTACH_DEVICE, 2, 1), &[(1, argument(0), 1)]),
        with(&one(Subop::REATTACH_DEVICE, 1, 2), &[(1, argument(1), 1)]),
        with(&one(Subop::FREE_CONTEXT, 1, 1), &[(1, argument(0), 2)]),
        with(&one(Subop::ALLOC_CONTEXT, 0, 0), &[(1, argument(0), 1)]),
        with(&one(Subop::ALLOC_CONTEXT_EXT, 0, 4), &[(2, argument(6), 1), (3, argument(7), 1)]),
        with(&one(Subop::TAKE_OWNERSHIP, 0, 1), &[(2, argument(4), 3)]),
        with(&one(Subop::TAKE_OWNERSHIP, 0, 3), &[(1, argument(2), 1)]),
        with(&one(Subop::FREE_CONTEXT, 2, 0), &[(1, argument(2), 1)]),
    ]
}

fn questions() -> Vec<Operation> {
    let one = |subop, flags| call(subop, 1, flags, &[]);
    vec![
        with(&one(Subop::QUERY_RESERVED, 8), &[(2, argument(8), 0), (3, argument(6), 1)]),
        with(&one(Subop::READ_FAULTS, 8), &[(2, argument(8), 0)]),
        with(&one(Subop::LOOKUP, 0), &[(2, argument(5), AT), (1, argument(0), 4)]),
        with(&one(Subop::QUERY_LIMITS, 0), &[(2, argument(2), 2)]),
        with(&one(Subop::QUERY_DEVICE, 1), &[(2, argument(5), 2)]),
        with(&one(Subop::INIT, 3), &[(1, argument(0), 200)]),
        with(&one(Subop::QUERY_CAPABILITIES, 0), &[]),
        with(&one(Subop::NOOP, 0), &[]),
    ]
}

fn no_memory() -> Vec<Operation> {
    let fail = |step, number| Operation::Fail { step, form: 3, number };
    let batch = with(&long(), &[(4, element(1, ELEMENT_BFN), AT + 9)]);
    vec![
        fail(1, 2),
        batch.clone(),
        fail(2, 100),
        with(&usual(), &[(3, element(1, ELEMENT_COUNT), 40)]),
        fail(3, 3),
        batch,
        fail(4, 1),
        with(&usual(), &[]),
        fail(5, 1),
        with(&usual(), &[]),
        with(&usual(), &[]),
    ]
}
