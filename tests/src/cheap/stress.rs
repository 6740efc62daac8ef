//! Several CPUs at a time, for those who watch every access: ThreadSanitizer (`./ci.sh tsan`) and Miri (`./ci.sh miri`).
//!
//! Not all that is shared is atomic: a call's room, what is under a lock, a table frame that is zeroed
//! when it is handed out, arguments in guest memory. Who touches them too early or too late is seen here.

use std::{env, thread};

use pviommu_abi::{
    AllocContext, BatchElement, BatchOp, Bfn, ContextId, ElementFlags, Errno, FreeContext, Gfn,
    MapFlags, MapPages, Subop, UnmapPages,
};
use pviommu_hypervisor::{Outcome, Sweep};

use super::{Options, Pin, World};

/// Rounds of each CPU; so many times as many with `PVIOMMU_STRESS`.
fn rounds() -> u64 {
    let few = if cfg!(miri) { 2 } else { 300 };
    let times = env::var("PVIOMMU_STRESS").map_or(1, |times| times.parse().unwrap());
    few * times
}

fn map(ctx_no: ContextId, bfn: u64, nr_pages: u32) -> MapPages {
    MapPages {
        ctx_no,
        gfn: Gfn(bfn % 4096),
        dfn: Bfn(bfn),
        map_flags: MapFlags::READABLE | MapFlags::WRITEABLE,
        pgsize: 4096,
        nr_pages,
        ..MapPages::default()
    }
}

fn unmap(ctx_no: ContextId, bfn: u64, nr_pages: u32) -> UnmapPages {
    UnmapPages { ctx_no, dfn: Bfn(bfn), pgsize: 4096, nr_pages, ..UnmapPages::default() }
}

/// A guest with so many CPUs, and a context with a device in it.
fn world(cpus: usize) -> World {
    let frames = if cfg!(miri) { 40 } else { 256 };
    World::with_contexts(&Options { pin: Pin::Locked, cpus, frames, ..Options::default() })
}

/// Finishes a call of the embedder.
fn finish(mut call: impl FnMut() -> Outcome) {
    loop {
        match call() {
            Outcome::Continue => {}
            Outcome::Done(status) => return assert_eq!(Errno::from_ret(status), None),
        }
    }
}

/// All that was allocated but the root comes back.
fn ends_clean(world: &World, free_before: usize) {
    finish(|| world.iommu.flush_deferred(&world.domain, 0));
    let mut sweep = Sweep::default();
    finish(|| world.iommu.trim(&world.domain, 0, &mut sweep));
    finish(|| world.iommu.teardown(&world.domain, 0));
    assert!(world.platform().arena.free() > free_before);
    assert_eq!(world.domain.stats().pinned_pages, 0);
}

/// Neighbours in leaf tables that come and go, and the tables with them.
#[test]
fn two_cpus_edit_one_table_while_a_third_trims_it() {
    let world = world(3);
    let before = world.platform().arena.free();
    let context = ContextId(1);
    thread::scope(|scope| {
        for cpu in 0..2u64 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..rounds() {
                    let bfn = (round % 12) * 512 + cpu * 8;
                    world.map(cpu as usize, &map(context, bfn, 6));
                    world.unmap(cpu as usize, &unmap(context, bfn, 6));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..rounds().div_ceil(4) {
                let mut sweep = Sweep::default();
                finish(|| world.iommu.trim(&world.domain, 2, &mut sweep));
            }
        });
    });
    ends_clean(&world, before);
}

/// Batches whose removals wait, a timer that ends the wait, and contexts whose frames are handed out anew.
#[test]
fn removals_wait_while_contexts_come_and_go() {
    let world = world(3);
    let before = world.platform().arena.free();
    let element = |op, flags, bfn, page, nr| BatchElement {
        op,
        flags,
        bfn: Bfn(bfn),
        page,
        nr,
        ..BatchElement::default()
    };
    thread::scope(|scope| {
        let world = &world;
        scope.spawn(move || {
            for round in 0..rounds() {
                let (bfn, both) = (round % 7 * 300, ElementFlags::READ | ElementFlags::WRITE);
                let later = ElementFlags::NO_FLUSH;
                world.batch(
                    0,
                    &[
                        element(BatchOp::MAP, both, bfn, 10, 4),
                        element(BatchOp::UNMAP, later, bfn, 0, 4),
                    ],
                );
            }
        });
        scope.spawn(move || {
            for round in 0..rounds() {
                // The second of the guest's, each time.
                world.call(1, Subop::ALLOC_CONTEXT, &AllocContext::default());
                let context = ContextId(2);
                world.map(1, &map(context, round % 1000 * 512, 3));
                world.call(
                    1,
                    Subop::FREE_CONTEXT,
                    &FreeContext { ctx_no: context, ..FreeContext::default() },
                );
            }
        });
        scope.spawn(move || {
            for _ in 0..rounds() {
                finish(|| world.iommu.flush_deferred(&world.domain, 2));
            }
        });
    });
    ends_clean(&world, before);
}
