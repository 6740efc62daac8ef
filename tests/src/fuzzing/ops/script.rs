//! A short notation for steps; in context 1, if nothing is said.

use pviommu_abi::{Background as Wire, OwnershipMode};
use pviommu_hypervisor::platform::{Access, AcquireError};

use crate::{
    machine::{Half, Step, When},
    model::{By, Change, Event, Fault, Item, Op, Place},
};

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

pub(super) fn later(dom: usize, bfn: u64, pages: u32, then: Op) -> Op {
    let (ctx, at) = (1, Place::Number(bfn));
    Op::Later { dom, ctx, at, pages, then: Box::new(then) }
}

/// Rows of single pages among others.
pub(super) fn batch(run_all: bool) -> Op {
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

/// The grant that was made last; by another than it was made to, if one is named.
pub(super) fn map_grant(other: Option<usize>, bfn: u64) -> Op {
    let (ctx, at, access) = (1, Place::Number(bfn), Access::READ);
    Op::MapGrant { other, ctx, at, grant: 0, access }
}

/// A row of single pages that goes on in the next table.
pub(super) fn row() -> Op {
    let (at, access) = (Place::Number(0x7f8), Access::all());
    let items = vec![Item::Map { times: 20, at, pages: 1, gfn: 0x200, access }];
    Op::Batch { dom: 1, ctx: 1, run_all: true, items }
}

pub(super) fn attach(dom: usize, device: usize, ctx: u16) -> Op {
    Op::Attach { dom, device, ctx }
}

pub(super) fn take(dom: usize, mode: OwnershipMode) -> Op {
    Op::Take { dom, mode, background: Wire::DEFAULT }
}

pub(super) fn change(dom: usize, gfn: u64, pages: u64, change: Change) -> Op {
    Op::Change { dom, gfn, pages, change }
}

pub(super) fn dma(device: usize, bfn: u64) -> Event {
    Event::Dma { device, at: Place::Number(bfn), pages: 2 }
}

pub(super) fn begin(cpu: usize, op: Op) -> Event {
    Event::Begin { op, cpu, entries: 1 }
}

pub(super) fn go_on(number: usize, entries: u32) -> Event {
    Event::GoOn { number, entries, fault: None }
}

pub(super) fn failing(op: Op, step: Step, nth: u64, half: Half) -> Event {
    let (reason, yields) = (AcquireError::NotBacked, When::Every(2));
    Event::Failing(op, Fault { step, nth, reason, half, yields, patience: None }, false)
}

/// A guest forgets the call, or dies while it stands.
pub(super) fn forgotten(op: Op, entries: u32, dies: bool) -> Event {
    let (step, nth, reason, half) = (Step::CopyIn, 7, AcquireError::Retry, Half::Nothing);
    let (yields, patience) = (When::Every(1), Some(entries));
    Event::Failing(op, Fault { step, nth, reason, half, yields, patience }, dies)
}

pub(super) fn plain(ops: impl IntoIterator<Item = Op>) -> Vec<Event> {
    ops.into_iter().map(Event::Plain).collect()
}
