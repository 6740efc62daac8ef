//! Inputs to start from: calls as a guest makes them, and the ways they go wrong.

use pviommu_abi::{
    AllocContext, ContextId, DomId, FreeFlags, GuestPtr, Init, ReattachDevice, RemoteCmd, Subop,
};
use zerocopy::IntoBytes;

use super::{
    input::{Input, Operation, Place},
    script::{Script, map, unmap},
    world::DEVICES,
};

/// Bus frame that most seeds map at.
pub(super) const BFN: u64 = 0x1_0000;

/// Steps and forms of [`Operation::Fail`].
pub(super) const ALLOC: u8 = 2;
pub(super) const COPY_OUT: u8 = 5;
const ATTACH: u8 = 6;
pub(super) const INVALIDATE: u8 = 8;
pub(super) const YIELD: u8 = 10;
pub(super) const NTH: u8 = 1;
pub(super) const EVERY: u8 = 3;

/// The seeds of the hypercall target, with the names of their files.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Input)> {
    let life = || {
        Script::attached()
            .map(8, BFN, 4)
            .dma(1, true, BFN, 9000)
            .dma(2, false, BFN + 3, 4096)
            .unmap(BFN, 4)
            .dma(1, true, BFN, 16)
            .free(1, FreeFlags::REATTACH_DEFAULT)
    };
    let every_subop = (0..14).chain(0x40..0x48).chain([u32::MAX]);
    let all = every_subop.fold(Script::of(1), |script, subop| script.raw(subop, &[1; 40]));
    let mut all_seeds = vec![
        ("probe", Script::of(1).begin().on(0)),
        ("life", life().on(0)),
        ("life-worse-unit", life().on(7)),
        ("life-straddling", life_at(Place::Straddling).on(0)),
        ("leaving-memory", life_at(Place::Leaving).on(0)),
        ("null-pointer", life_at(Place::Raw(0)).on(0)),
        ("unmapped-pointer", life_at(Place::Raw(1 << 30)).on(0)),
        ("not-canonical", life_at(Place::Raw(0x8000_0000_0000_0000)).on(0)),
        ("last-byte", life_at(Place::Raw(u64::MAX)).on(0)),
        ("every-subop", all.on(0)),
        ("strict-flags", life().raw(Subop::ALLOC_CONTEXT.0, &[0, 0, 0, 0, 0, 0, 0, 0x80]).on(8)),
        ("many-tables", tables().on(0)),
        ("early-dma", Script::attached().dma(2, false, BFN, 8).map(8, BFN, 2).unmap(BFN, 2).on(7)),
        ("not-snooped", Script::attached().map(8, BFN, 2).dma(2, true, BFN, 8).unmap(BFN, 2).on(2)),
        ("large-leaf", large().on(0)),
        ("large-leaf-worse-unit", large().on(7)),
        ("two-bfns-one-page", twice().on(0)),
        (
            "registers",
            Script::attached().map(0xf_0000, BFN, 8).dma(1, true, BFN, 64).unmap(BFN, 8).on(0),
        ),
        ("overmap", Script::attached().map(8, BFN, 2).map(4, BFN + 1, 2).unmap(BFN, 3).on(0)),
        ("wrap-around", wrap().on(0)),
        (
            "reserved",
            Script::attached().map(8, 0x7fff, 4).map(8, 0xfedff, 2).unmap(0x8003, 1).on(0),
        ),
        ("reserved-by-attach", Script::of(1).begin().map(8, 0x8001, 1).attach(2, 1).on(0)),
        (
            "moving",
            Script::attached().map(8, BFN, 1).attach(1, 2).dma(1, false, BFN, 8).attach(1, 0).on(0),
        ),
        ("not-ours", Script::attached().attach(0, 1).attach(3, 1).attach(1, 6).on(0)),
        (
            "yields",
            Script::attached()
                .fail(YIELD, EVERY, 0)
                .map(0x200, BFN + 1, 512)
                .unmap(BFN + 1, 512)
                .on(0),
        ),
        ("no-memory", Script::attached().fail(ALLOC, NTH, 1).map(8, BFN, 2).map(8, BFN, 2).on(0)),
        (
            "no-copy-out",
            Script::attached().fail(COPY_OUT, NTH, 0).alloc().alloc().map(8, BFN, 1).on(0),
        ),
        (
            "flush-fails",
            Script::attached()
                .map(8, BFN, 2)
                .dma(1, true, BFN, 8)
                .fail(INVALIDATE, NTH, 0)
                .unmap(BFN, 2)
                .map(8, BFN, 1)
                .on(0),
        ),
        (
            "attach-fails",
            Script::of(1).begin().fail(ATTACH, NTH | 4, 0).attach(1, 1).attach(1, 1).on(0),
        ),
        ("remote", remote().on(0)),
        (
            "page-leaves",
            Script::attached()
                .map(8, BFN, 1)
                .manage(0, 8)
                .unmap(BFN, 1)
                .manage(0, 8)
                .map(8, BFN, 1)
                .manage(1, 8)
                .map(8, BFN, 1)
                .on(0),
        ),
        (
            "device-leaves",
            Script::attached()
                .map(8, BFN, 1)
                .manage(6, 1)
                .dma(1, true, BFN, 8)
                .manage(5, 1)
                .attach(1, 1)
                .manage(4, 0)
                .on(0),
        ),
        (
            "teardown",
            Script::attached()
                .map(0x200, BFN, 512)
                .fail(YIELD, EVERY, 0)
                .manage(7, 0)
                .map(8, 1, 1)
                .manage(7, 1)
                .on(0),
        ),
    ];
    all_seeds.extend(super::seeds_ext::seeds());
    all_seeds
}

/// A short life with its arguments elsewhere.
fn life_at(place: Place) -> Script {
    Script::attached().at(place).alloc().map(8, BFN, 4).unmap(BFN, 4).free(1, FreeFlags::empty())
}

/// More leaf tables than stay when they are empty.
fn tables() -> Script {
    let bfns = || (0..10).map(|table| BFN + table * 512);
    let mapped = bfns().fold(Script::attached(), |s, bfn| s.map(8, bfn, 1).dma(1, true, bfn, 8));
    bfns().fold(mapped, |s, bfn| s.unmap(bfn, 1))
}

/// A 2 MiB leaf, and a part of it taken out.
fn large() -> Script {
    Script::attached()
        .map(0x200, 0x200, 512)
        .dma(1, true, 0x2ff, 8000)
        .unmap(0x210, 16)
        .dma(1, false, 0x210, 4096)
        .dma(2, true, 0x220, 4096)
        .unmap(0x200, 16)
        .unmap(0x220, 480)
}

/// One page at two bus frames: a stale translation of one is not noticed by the other's reference.
fn twice() -> Script {
    Script::attached()
        .map(8, BFN, 1)
        .map(8, BFN + 512, 1)
        .dma(1, true, BFN, 64)
        .unmap(BFN, 1)
        .dma(1, true, BFN, 64)
        .unmap(BFN + 512, 1)
}

/// Ranges at and over the ends of what can be counted.
fn wrap() -> Script {
    let last = (1 << 36) - 1;
    let mut script = Script::attached();
    for (bfn, pages) in [
        (u64::MAX, 1),
        (u64::MAX, 2),
        (last, 1),
        (last, 2),
        (last + 1, 1),
        (BFN, u32::MAX),
        (BFN, 0),
    ] {
        script = script.map(8, bfn, pages).map(bfn, BFN, pages).unmap(bfn, pages);
    }
    script
}

/// The hardware domain acts for the other one.
fn remote() -> Script {
    const INNER: u16 = 0x9000;
    let command = |subop: Subop| RemoteCmd {
        domid: DomId(1),
        subop: u16::try_from(subop.0).unwrap(),
        arg: GuestPtr(u64::from(INNER)),
        ..RemoteCmd::default()
    };
    let store =
        |bytes: &[u8]| Operation::Store { domain: 0, address: INNER, bytes: bytes.to_vec() };
    let attach =
        ReattachDevice { ctx_no: ContextId(1), dev: DEVICES[1], ..ReattachDevice::default() };
    Script::of(0)
        .push(store(Init { max_ctx_no: 2, arena_order: 5 }.as_bytes()))
        .call(Subop::REMOTE_CMD, &command(Subop::INIT))
        .push(store(AllocContext::default().as_bytes()))
        .call(Subop::REMOTE_CMD, &command(Subop::ALLOC_CONTEXT))
        .push(store(attach.as_bytes()))
        .call(Subop::REMOTE_CMD, &command(Subop::REATTACH_DEVICE))
        .push(store(map(8, BFN, 2).as_bytes()))
        .call(Subop::REMOTE_CMD, &command(Subop::MAP_PAGES))
        .dma(1, true, BFN, 8192)
        .push(store(unmap(BFN, 2).as_bytes()))
        .call(Subop::REMOTE_CMD, &command(Subop::UNMAP_PAGES))
        .call(Subop::REMOTE_CMD, &command(Subop::REMOTE_CMD))
}
