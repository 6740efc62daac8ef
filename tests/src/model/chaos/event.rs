//! The steps of a sequence, and which of them are chosen how often.

use pviommu_hypervisor::platform::Access;

use super::{
    super::{
        choices::{DEVICE, DOM, OP, PLACE, large},
        field::{Bytes, FLAG, Field, In, OneOf},
        ops::{Op, Place},
        setup::CPUS,
    },
    asks::{Ask, Asks},
    fault::{Fault, FaultIn},
};

/// One step of a sequence. An operation that the service gets goes here, or to [`Op`] if the model has to
/// know what it does.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Event {
    Plain(Op),
    /// If it leaves a call unfinished, the domain dies instead of calling again.
    Failing(Op, Fault, bool),
    Ask(usize, Ask, Option<Fault>),
    /// A map or an unmap on another CPU, which is left standing after so many entries into the service.
    Begin {
        op: Op,
        cpu: usize,
        entries: u32,
    },
    /// One of the calls that stand goes on, for so many entries.
    GoOn {
        number: usize,
        entries: u32,
        fault: Option<Fault>,
    },
    /// A device reads and writes pages that follow each other.
    Dma {
        device: usize,
        at: Place,
        pages: u32,
    },
}

impl Event {
    /// The step that bytes stand for.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Events.get(&mut Bytes::new(bytes))
    }
}

struct SomeOp;

/// Calls that are refused are rarer here: where nothing is done, nothing fails.
fn sensible(mut op: Op) -> Op {
    match &mut op {
        Op::Map { ctx, .. }
        | Op::Unmap { ctx, .. }
        | Op::Later { ctx, .. }
        | Op::MapGrant { ctx, .. }
        | Op::Attach { ctx, .. }
        | Op::Free { ctx, .. }
            if *ctx > 1 =>
        {
            *ctx = 1;
        }
        _ => {}
    }
    op
}

impl Field<Op> for SomeOp {
    fn get(&self, from: &mut Bytes<'_>) -> Op {
        match from.below(10) {
            0..2 => OP.get(from),
            2..7 => sensible(OP.get(from)),
            _ => large(from),
        }
    }

    fn put(&self, value: &Op, to: &mut Vec<u8>) -> bool {
        to.push(0);
        OP.put(value, to)
    }
}

/// An operation whose calls are made on any CPU, and may be left standing.
struct SomeEdit;

impl Field<Op> for SomeEdit {
    fn get(&self, from: &mut Bytes<'_>) -> Op {
        if from.below(2) == 0 { large(from) } else { SomeOp.get(from) }
    }

    fn put(&self, value: &Op, to: &mut Vec<u8>) -> bool {
        to.push(1);
        SomeOp.put(value, to)
    }
}

const CPU: In = In(1, CPUS - 1);
const ENTRIES: OneOf<u32> = OneOf(&[(4, 1), (2, 2), (1, 3), (1, u32::MAX)]);
const PAGES: In = In(1, 4);

/// All methods of units are among those that may fail then.
const ANYTHING: Op = Op::Free { dom: 0, ctx: 0, reattach: true };
/// All methods that a map calls.
const A_MAP: Op =
    Op::MapGrant { other: None, ctx: 0, at: Place::Number(0), grant: 0, access: Access::empty() };

/// Any step.
pub(crate) struct Events;

impl Field<Event> for Events {
    fn get(&self, from: &mut Bytes<'_>) -> Event {
        match from.below(20) {
            0..4 => Event::Plain(SomeOp.get(from)),
            4..12 => {
                let op = SomeOp.get(from);
                let fault = FaultIn(&op).get(from);
                Event::Failing(op, fault, from.below(5) == 4)
            }
            12 => {
                let (dom, ask) = (DOM.get(from), Asks.get(from));
                Event::Ask(dom, ask, FLAG.get(from).then(|| FaultIn(&ANYTHING).get(from)))
            }
            13..16 => Event::Begin {
                op: SomeEdit.get(from),
                cpu: CPU.get(from),
                entries: ENTRIES.get(from),
            },
            16..19 => Event::GoOn {
                number: In(0, 4).get(from),
                entries: ENTRIES.get(from),
                fault: (from.below(3) == 2).then(|| FaultIn(&A_MAP).get(from)),
            },
            _ => {
                Event::Dma { device: DEVICE.get(from), at: PLACE.get(from), pages: PAGES.get(from) }
            }
        }
    }

    fn put(&self, value: &Event, to: &mut Vec<u8>) -> bool {
        let fault = |fault: &Option<Fault>, of: &Op, tag, to: &mut Vec<u8>| match fault {
            None => {
                to.push(0);
                true
            }
            Some(fault) => {
                to.push(tag);
                FaultIn(of).put(fault, to)
            }
        };
        match value {
            Event::Plain(op) => {
                to.push(0);
                SomeOp.put(op, to)
            }
            Event::Failing(op, fault, dies) => {
                to.push(4);
                let can = SomeOp.put(op, to) && FaultIn(op).put(fault, to);
                to.push(if *dies { 4 } else { 0 });
                can
            }
            Event::Ask(dom, ask, failing) => {
                to.push(12);
                DOM.put(dom, to) && Asks.put(ask, to) && fault(failing, &ANYTHING, 1, to)
            }
            Event::Begin { op, cpu, entries } => {
                to.push(13);
                SomeEdit.put(op, to) && CPU.put(cpu, to) && ENTRIES.put(entries, to)
            }
            Event::GoOn { number, entries, fault: failing } => {
                to.push(16);
                In(0, 4).put(number, to)
                    && ENTRIES.put(entries, to)
                    && fault(failing, &A_MAP, 2, to)
            }
            Event::Dma { device, at, pages } => {
                to.push(19);
                DEVICE.put(device, to) && PLACE.put(at, to) && PAGES.put(pages, to)
            }
        }
    }
}
