//! Seeds of the subops from 0x40 on: batches, removals that wait, questions, chosen contexts.

use pviommu_abi::{
    AllocContextExt, Background, Bfn, ContextId, FlushPages, FreeFlags, GuestPtr, Lookup,
    QueryLimits, ReadFaults, Subop,
};
use zerocopy::IntoBytes;

use super::{
    input::{Batch, Element, Input, Operation},
    script::Script,
    seeds::{ALLOC, BFN, COPY_OUT, EVERY, INVALIDATE, NTH, YIELD},
};

/// Operations, flags and places of elements.
pub(super) const MAP: u8 = 1;
pub(super) const UNMAP: u8 = 2;
pub(super) const MAP_LIST: u8 = 3;
const FLUSH: u8 = 5;
const LOOKUP: u8 = 6;
pub(super) const READ_WRITE: u8 = 3;
const LATER: u8 = 8;
pub(super) const SKIP: u8 = 128;
/// The bus frame and the guest frame that most elements have.
pub(super) const AT: u16 = 1 << 13;
pub(super) const FROM: u8 = 8;
pub(super) const IN_A_ROW: u8 = 1 << 6;

pub(super) fn seeds() -> Vec<(&'static str, Input)> {
    vec![
        ("batch", batches().on(0)),
        ("batch-fault", batches().on(16)),
        ("batch-worse-unit", batches().on(7)),
        ("batch-yields", batches_after(Script::attached().fail(YIELD, EVERY, 0)).on(0)),
        ("batch-no-memory", batches_after(Script::attached().fail(ALLOC, EVERY, 2)).on(0)),
        ("batch-no-copy-out", batches_after(Script::attached().fail(COPY_OUT, EVERY, 2)).on(0)),
        ("batch-flush-fails", batches_after(Script::attached().fail(INVALIDATE, NTH, 2)).on(16)),
        ("batch-for-another", batch_for_another().on(0)),
        ("batch-raw", raw_batch().on(0)),
        ("flush-later", later().on(0)),
        ("flush-later-fault", later().on(16)),
        ("questions", questions().on(0)),
        ("chosen-contexts", chosen().on(0)),
    ]
}

/// Batches of everything, run all and not.
fn batches() -> Script {
    batches_after(Script::attached())
}

fn batches_after(script: Script) -> Script {
    let elements = [
        (MAP, READ_WRITE, AT, FROM, 4),
        (LOOKUP, 0, AT + 2, 0, 1),
        (MAP_LIST, READ_WRITE, AT + 8, 0, 12),
        (MAP, READ_WRITE, 2 << 13, IN_A_ROW, 512),
        (UNMAP, 0, AT + 1, 0, 1),
        (MAP, READ_WRITE, AT + 3, 3, 2),
        (UNMAP, LATER, AT + 8, 0, 5),
        (UNMAP, SKIP, AT, 0, 1000),
        (UNMAP, SKIP | LATER, 7 << 13, 0, 0xffff),
        (FLUSH, 0, AT, 0, 3),
        (FLUSH, 0, 0, 0, 0),
        (UNMAP, 0, 2 << 13 | 16, 0, 8),
        (MAP, READ_WRITE, 4 << 13 | 12, FROM, 6),
        (MAP, READ_WRITE, 5 << 13 | 60, FROM, 6),
        (4, READ_WRITE, AT, 0, 1),
        (MAP, READ_WRITE, AT + 100, FROM, 1),
    ];
    let dma = |script: Script| script.dma(1, true, BFN, 9000).dma(2, false, BFN + 8, 9000);
    let script = script.list(&[9, 3, 4, 12, 0x210, 0x211, 0x200, 14, 8, 8, 5, 0xf_0001]);
    let script = dma(script.batch(1, &elements));
    dma(dma(script.batch(0, &elements)).batch(1, &elements[..3]))
}

/// The hardware domain runs one, a guest tries to.
fn batch_for_another() -> Script {
    let batch = |caller| {
        let element = Element { op: MAP, flags: READ_WRITE, bfn: AT, page: FROM, nr: 2 };
        let elements = vec![element];
        Operation::Batch(Batch { caller, context: 1, flags: 0, elements })
    };
    Script::attached().push(batch(16)).push(batch(17)).dma(1, true, BFN, 8192).unmap(BFN, 2)
}

/// With a header from the outside, whose array is where the header is.
fn raw_batch() -> Script {
    let header = |ops| pviommu_abi::Batch {
        ctx_id: 1,
        nr_ops: 2,
        ops: GuestPtr(ops),
        ..pviommu_abi::Batch::default()
    };
    let at = |ops| Script::attached().call(Subop::BATCH, &header(ops));
    at(0x2000).call(Subop::BATCH, &header(0x2014)).call(Subop::BATCH, &header(u64::MAX - 63))
}

/// Removals that wait for a flush, each ended in another way.
fn later() -> Script {
    let mapped = (MAP, READ_WRITE, AT, FROM, 4);
    let gone = (UNMAP, LATER, AT, 0, 4);
    let flush =
        FlushPages { ctx_no: ContextId(1), dfn: Bfn(BFN), nr_pages: 4, ..FlushPages::default() };
    let script = Script::attached().batch(0, &[mapped]).dma(1, true, BFN, 12_000).batch(0, &[gone]);
    let script = script.dma(1, true, BFN, 12_000).manage(0, 8).call(Subop::FLUSH_PAGES, &flush);
    let script =
        script.dma(1, true, BFN, 64).batch(0, &[mapped, gone, mapped]).dma(1, true, BFN, 64);
    let large = (MAP, READ_WRITE, 2 << 13, IN_A_ROW, 511);
    let script = script.batch(0, &[large, (UNMAP, LATER, 2 << 13, 0, 511)]).manage(4, 0x8000);
    script.batch(0, &[gone]).attach(1, 2).attach(1, 1).free(1, FreeFlags::REATTACH_DEFAULT)
}

fn questions() -> Script {
    let lookup = |bfn| Lookup { ctx_id: 1, bfn: Bfn(bfn), ..Lookup::default() };
    let limits = |ctx_id| QueryLimits { ctx_id, ..QueryLimits::default() };
    // What comes in of it is in its first half.
    let ask = |script: Script, ctx_id| {
        let argument = limits(ctx_id);
        script.raw(Subop::QUERY_LIMITS.0, &argument.as_bytes()[..64])
    };
    let script = Script::attached().map(8, BFN, 2).call(Subop::LOOKUP, &lookup(BFN + 1));
    let faults = |ops, nr_records| ReadFaults {
        nr_records,
        records: GuestPtr(ops),
        ..ReadFaults::default()
    };
    let script = script.dma(1, true, 0xfee01, 64).dma(1, false, BFN + 5, 64).manage(4, 0x4000);
    let script = script.call(Subop::READ_FAULTS, &faults(0x3000, 2));
    let script = script.manage(4, 0x2000).call(Subop::READ_FAULTS, &faults(u64::MAX - 50, 9));
    let script = script.call(Subop::LOOKUP, &lookup(0x8001)).call(Subop::LOOKUP, &lookup(1 << 36));
    ask(ask(ask(script, 0), 1), 5)
}

/// Contexts with a background and an aperture of their own.
fn chosen() -> Script {
    let alloc = |background, first, last| AllocContextExt {
        background,
        aperture_first: Bfn(first),
        aperture_last: Bfn(last),
        ..AllocContextExt::default()
    };
    Script::attached()
        .call(Subop::ALLOC_CONTEXT_EXT, &alloc(Background::FAULT, BFN, BFN + 600))
        .call(Subop::ALLOC_CONTEXT_EXT, &alloc(Background::SCRATCH, 0xfede0, 0x10_0100))
        .call(Subop::ALLOC_CONTEXT_EXT, &alloc(Background::SCRATCH, 5, 4))
        .attach(1, 3)
        .dma(1, true, BFN, 64)
        .attach(1, 4)
        .attach(2, 4)
        .dma(1, true, 0xfede1, 64)
        .dma(2, true, 0x8001, 64)
        .dma(2, true, 0xfee01, 64)
        .fail(ALLOC, NTH, 3)
        .call(Subop::ALLOC_CONTEXT_EXT, &alloc(Background::SCRATCH, 0, 0))
        .free(4, FreeFlags::REATTACH_DEFAULT)
}
