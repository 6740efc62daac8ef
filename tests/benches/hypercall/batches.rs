//! Batches of single pages, in no order, and lists.

use pviommu_abi::{BatchElement, BatchOp, Bfn, ElementFlags};
use pviommu_testbed::{
    cheap::{Buffers, World},
    measure::timed,
};
use zerocopy::IntoBytes;

use super::calls::{FIRST_BFN, PAGES};

/// Elements of one batch.
const SIZES: [usize; 3] = [1, 16, 128];

/// Guest frames of a list.
const LIST: usize = 256;

/// Where in a buffer lists are.
const LIST_AT: usize = 16384;

pub(crate) fn rows() -> Vec<String> {
    let of_size = |size| [format!("batch-{size}"), format!("batch-unmap-{size}")];
    let lists = [format!("map_list-{LIST}"), format!("unmap_list-{LIST}")];
    SIZES.iter().flat_map(of_size).chain(lists).collect()
}

/// Element `n` maps a bus frame near that of the one before, and a guest frame that is not.
pub(crate) fn map_one(n: u64) -> BatchElement {
    let (bfn, gfn) = (FIRST_BFN + n * 7 % PAGES, n * 421 % PAGES);
    let flags = ElementFlags::READ | ElementFlags::WRITE;
    BatchElement {
        op: BatchOp::MAP,
        flags,
        bfn: Bfn(bfn),
        page: gfn,
        nr: 1,
        ..BatchElement::default()
    }
}

pub(crate) fn unmap_one(n: u64) -> BatchElement {
    let bfn = Bfn(FIRST_BFN + n * 7 % PAGES);
    BatchElement { op: BatchOp::UNMAP, bfn, nr: 1, ..BatchElement::default() }
}

fn list(first: u64, op: BatchOp) -> BatchElement {
    let bfn = Bfn(FIRST_BFN + first);
    let (flags, page) = match op {
        BatchOp::MAP_LIST => {
            (ElementFlags::READ | ElementFlags::WRITE, Buffers::address(0, LIST_AT).0)
        }
        _ => (ElementFlags::empty(), 0),
    };
    BatchElement { op, flags, bfn, page, nr: LIST as u32, ..BatchElement::default() }
}

/// Runs an element for each page of the working set, so many in a batch.
pub(crate) fn run(world: &World, size: usize, element: fn(u64) -> BatchElement) {
    let mut room = [BatchElement::default(); 128];
    let mut next = 0;
    while next < PAGES {
        let elements = &mut room[..size];
        for (n, slot) in (next..).zip(elements.iter_mut()) {
            *slot = element(n);
        }
        world.batch(0, elements);
        next += size as u64;
    }
}

pub(crate) fn map_lists(world: &World) {
    for first in (0..PAGES).step_by(LIST) {
        let gfns: [u64; LIST] = core::array::from_fn(|n| (first + n as u64) * 421 % PAGES);
        let at = Buffers::address(0, LIST_AT);
        world.platform().buffers.write(at, gfns.as_bytes()).unwrap();
        world.batch(0, &[list(first, BatchOp::MAP_LIST)]);
    }
}

pub(crate) fn unmap_lists(world: &World) {
    for first in (0..PAGES).step_by(LIST) {
        world.batch(0, &[list(first, BatchOp::UNMAP)]);
    }
}

/// Every kind once, with a look at what came of it.
pub(crate) fn check(world: &World) {
    let held = || world.platform().pages.held();
    for size in SIZES {
        run(world, size, map_one);
        assert_eq!(held(), PAGES);
        world.check_batch(0, size);
        run(world, size, unmap_one);
        assert_eq!(held(), 0);
        world.check_batch(0, size);
    }
    map_lists(world);
    assert_eq!(held(), PAGES);
    unmap_lists(world);
    assert_eq!(held(), 0);
}

/// Nanoseconds for each element or page of each row.
pub(crate) fn pass(world: &World, times: &mut Vec<f64>) {
    for size in SIZES {
        times.push(timed(|| run(world, size, map_one)) / PAGES as f64);
        times.push(timed(|| run(world, size, unmap_one)) / PAGES as f64);
    }
    times.push(timed(|| map_lists(world)) / PAGES as f64);
    times.push(timed(|| unmap_lists(world)) / PAGES as f64);
}
