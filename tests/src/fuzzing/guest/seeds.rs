//! Inputs to start from: a driver's life without lies, and with one lie at a time.

use super::{
    input::{Input, Lie, Operation},
    liar::KINDS,
};

/// What a driver does.
const MAP: u8 = 0;
const MAP_LATER: u8 = 1;
const MAP_KEPT: u8 = 2;
const UNMAP: u8 = 3;
const TAKE: u8 = 4;
const DROP: u8 = 5;
const DROP_BACK: u8 = 6;
const POLL: u8 = 7;
const FLUSH: u8 = 8;
const COHERENT: u8 = 9;
const GRANTS: u8 = 10;
const FOREIGN: u8 = 11;
const CPU: u8 = 12;
const CALL: u8 = 13;
const POOL: u8 = 14;
const RESERVE: u8 = 15;

fn on(hypervisor: u8, rest: Vec<Operation>) -> Input {
    let mut operations = vec![Operation::default(); 4];
    operations.extend(rest);
    Input { hypervisor, operations }
}

fn quiet(what: u8, which: u8, number: u16) -> Operation {
    Operation { what, which, number, lies: Vec::new() }
}

fn lying(what: u8, which: u8, number: u16, lie: Lie) -> Operation {
    Operation { lies: vec![lie], ..quiet(what, which, number) }
}

/// All that a driver does, once.
fn life() -> Vec<Operation> {
    let mut life = Vec::new();
    for buffer in 0..6 {
        life.extend([quiet(MAP, buffer, 2), quiet(MAP_LATER, buffer + 6, 1)]);
        life.extend([quiet(MAP_KEPT, buffer, 0), quiet(COHERENT, buffer + 12, buffer.into())]);
    }
    for place in 0..8 {
        life.extend([quiet(UNMAP, place, 0), quiet(UNMAP, place + 3, 0)]);
        life.extend([quiet(TAKE, place, place.into()), quiet(POLL, 0, 600)]);
    }
    life.extend([quiet(GRANTS, 0, 7), quiet(FOREIGN, 3, 0), quiet(POOL, 0, 256), quiet(CPU, 1, 0)]);
    life.extend([quiet(DROP, 0, 0), quiet(DROP_BACK, 0, 0), quiet(FLUSH, 0, 0)]);
    life.push(quiet(RESERVE, 4, 0x300));
    life
}

/// Of an unmap that waited more is said to be done than there was, and its flush is.
fn not_believed() -> Vec<Operation> {
    let lie = Lie { skip: 0, kind: 7, place: 7, value: 0xf0 };
    let unmap = [quiet(MAP_LATER, 6, 0), quiet(UNMAP, 0, 0), lying(FLUSH, 0, 0, lie)];
    unmap.into_iter().chain([quiet(TAKE, 0, 0)]).collect()
}

fn calls() -> Vec<Operation> {
    (0..20).map(|which| quiet(CALL, which, 0x0553)).collect()
}

/// Each lie of one kind, on one of the first calls of some of a driver's operations.
fn lies(kind: u8) -> Vec<Operation> {
    let lie = |skip, place, value| Lie { skip, kind, place, value };
    let mut all = Vec::new();
    for (number, value) in [(0, 12), (3, 0x11), (7, 0xf0), (21, 0x25)] {
        let buffer = (number % 6) as u8;
        all.push(lying(MAP, buffer, 0, lie(0, number, value)));
        all.push(lying(MAP_LATER, buffer + 6, 0, lie(0, number, value)));
        all.push(lying(UNMAP, 0, 0, lie(0, number, value)));
        all.push(lying(MAP_KEPT, buffer, 0, lie(1, number, value)));
        all.push(lying(UNMAP, 1, 0, lie(0, number + 5, value)));
        all.push(lying(FLUSH, 0, 0, lie(0, number, value)));
        all.push(lying(TAKE, 0, 0, lie(0, number, value)));
        all.push(lying(GRANTS, 0, 5, lie(0, number, value)));
        all.push(lying(DROP, 0, 0, lie(0, number, value)));
        all.push(lying(CALL, (number * 3) as u8, 0x0553, lie(0, number, value)));
        all.push(quiet(FLUSH, 0, 0));
    }
    all
}

/// The seeds, with the names of their files.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds = vec![
        ("life".into(), on(0, life())),
        ("life-v7".into(), on(1, life())),
        ("life-small-batches".into(), on(0b1000_1010, life())),
        ("life-few-bus-frames".into(), on(0b1010_0000, life())),
        ("unmap-not-believed".into(), on(0, not_believed())),
        ("calls".into(), on(0, calls())),
        ("calls-v7".into(), on(1, calls())),
    ];
    for kind in 0..KINDS.len() as u8 {
        seeds.push((format!("lie-{kind}"), on(128, lies(kind))));
        seeds.push((format!("lie-{kind}-v7"), on(1, lies(kind))));
        let begun = (0..4).map(|skip| Operation {
            lies: vec![Lie { skip, kind, place: u16::from(skip) * 5, value: 0x13 }],
            ..Operation::default()
        });
        let operations = begun.chain(life()).collect();
        seeds.push((format!("lie-{kind}-at-first"), Input { hypervisor: 0, operations }));
    }
    seeds
}
