//! Batches of 1024 elements, of each operation, with the most work behind each element.

use pviommu_abi::{BatchElement, BatchOp, ContextId};
use zerocopy::IntoBytes;

use super::kit::{G1, M2, Measure, config, measure, measure_part};
use crate::{
    batch::kit::{
        LIST, READ_WRITE, RUN_ALL, element, flush, lookup, map, map_list, run, skip_holes, unmap,
        unmap_later,
    },
    deferred,
    kit::{GUEST, RW},
};

/// Elements of the largest batch.
const MOST: u64 = 1024;

/// Where the elements of a batch and its lists are not: guest frames to map.
const FROM: u64 = 0x1000;

/// Runs a batch of the most elements, which are what `of` says of each number.
fn batch(measure: &Measure<'_>, context: ContextId, how: &str, of: impl Fn(u64) -> BatchElement) {
    let mut elements: Vec<_> = (0..MOST).map(of).collect();
    measure.by(how, || {
        assert_eq!(run(measure.vm, context, RUN_ALL, &mut elements), (0, MOST as u32));
    });
}

#[test]
fn batches() {
    measure("batch", &config(), |of| {
        let context = of.vm.attached_context();
        let far = |number: u64| 16 * G1 + number * M2 + number % 512;
        batch(of, context, "a page in each table", |n| map(far(n), FROM + n, 1));
        batch(of, context, "found", |n| lookup(far(n)));
        batch(of, context, "and out", |n| unmap(far(n), 1));
        batch(of, context, "two pages in each table", |n| map(far(n), FROM + n * 3, 2));
        batch(of, context, "and out together", |n| unmap(far(n), 2));
        batch(of, context, "a page beside another", |n| map(n, FROM + n, 1));
        batch(of, context, "out for a later flush", |n| unmap_later(n, 1));
        batch(of, context, "over what waits", |n| match n % 2 {
            0 => map(n / 2, FROM + n, 1),
            _ => unmap_later(n / 2, 1),
        });
        batch(of, context, "each flushed", |n| flush(n, 1));
        // Of frames that follow each other, so that a flush has many pages to give back.
        batch(of, context, "many pages each", |n| map(20 * G1 + n * 300, G1 + n * 200, 299));
        batch(of, context, "all out, holes passed over", |n| match n {
            0 => skip_holes(20 * G1, u32::MAX),
            _ => skip_holes(1 << 30, u32::MAX),
        });
        let list: Vec<u64> = (0..3000).map(|n| FROM + n * 7).collect();
        of.vm.bed.guest_write(GUEST, LIST, list.as_bytes());
        batch(of, context, "lists", |n| match n % 2 {
            0 => map_list(24 * G1 + n * 3000, LIST, 3000),
            _ => unmap(24 * G1 + (n - 1) * 3000, 3000),
        });
        batch(of, context, "what is refused", |_| element(BatchOp(77), READ_WRITE, 0, 0, 1));
        assert_eq!(of.vm.map(context, 4 * G1, G1, G1 as u32, RW), (0, G1 as u32));
        batch(of, context, "a large leaf", |n| match n {
            0 => unmap(4 * G1, G1 as u32),
            _ => lookup(4 * G1),
        });
        assert_eq!(of.vm.map(context, 4 * G1, G1, G1 as u32, RW), (0, G1 as u32));
        batch(of, context, "a page of each part of a large leaf", |n| unmap(4 * G1 + n * 256, 1));
    });
}

/// Tables are searched for empty ones again and again, and there are none.
#[test]
fn batches_without_table_frames() {
    let mut config = config();
    config.domains[0].table_frames = Some(600);
    measure_part("batch", &config, |of| {
        let context = of.vm.attached_context();
        let far = |number: u64| 16 * G1 + number * M2 + number % 512;
        for part in 0..2 {
            batch(of, context, "a page in each table, while there are any", |n| {
                map(far(n + part * MOST), FROM + n, 1)
            });
        }
        batch(of, context, "nothing to be had", |n| map(far(n + 2 * MOST), FROM + n, 1));
        batch(of, context, "a piece in, a piece out", |n| match n % 2 {
            0 => map(far(n + 4 * MOST), FROM + n, 1),
            _ => unmap(far(n / 2), 1),
        });
        batch(of, context, "all", |n| unmap(far(n), 1));
    });
}

/// A little waits in each of all contexts, and at the bound all of it is flushed.
#[test]
fn a_batch_that_ends_the_waits_of_all_contexts() {
    measure_part("batch", &config(), |of| {
        let vm = of.vm;
        let context = vm.attached_context();
        for _ in 1..128 {
            let other = vm.alloc().unwrap();
            assert_eq!(vm.attach(crate::kit::SECOND, other), 0);
            assert_eq!(vm.map(other, 0, 0, 32, RW), (0, 32));
            assert_eq!(deferred::unmap_later(vm, other, 0, 32), (0, 32));
        }
        assert_eq!(vm.map(context, 0, 0, 4096, RW), (0, 4096));
        batch(of, context, "four pages each, for a later flush", |n| unmap_later(n * 4, 4));
    });
}
