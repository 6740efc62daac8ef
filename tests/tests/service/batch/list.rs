//! Lists of guest frames: any frames at bus frames in a row.

use pviommu_abi::{BatchElement, ElementFlags, Errno, Gfn};
use pviommu_hypervisor::{Outcome, addr::GfnRange};
use pviommu_testbed::machine::{Config, Copied, Step, When};

use crate::batch::kit::{
    LIST, READ_WRITE, STOP, begin, element, header, lay, lay_list, look, lookup, map, map_list,
    run, run_one, skip_holes, statuses, step, unmap,
};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest};
use pviommu_abi::BatchOp;

const PAGES: u64 = 2000;

/// Frames from 64 on, in an order without neighbours.
fn scattered(count: u64) -> Vec<u64> {
    (0..count).map(|i| 64 + i * 7 % (PAGES - 64)).collect()
}

fn count(list: &[u64]) -> u32 {
    u32::try_from(list.len()).unwrap()
}

/// Maps a list at `bfn`, which must succeed, and looks where all of it landed.
fn maps(vm: &Vm<'_>, bfn: u64, gfns: &[u64]) {
    lay_list(vm, gfns);
    let context = pviommu_abi::ContextId(1);
    assert_eq!(run_one(vm, context, map_list(bfn, LIST, count(gfns))), (0, count(gfns)));
    for (i, gfn) in (0..).zip(gfns) {
        assert!(vm.lands_in(DEVICE, bfn + i, *gfn), "entry {i}");
    }
    assert_eq!(vm.bed.counters().references_live, gfns.len() as u64);
    assert_eq!(run_one(vm, context, unmap(bfn, count(gfns))), (0, count(gfns)));
    assert_eq!(vm.bed.counters().references_live, 0);
}

#[test]
fn any_list_is_mapped_in_its_order() {
    with_guest(PAGES, |vm| {
        vm.attached_context();
        let contiguous: Vec<u64> = (100..700).collect();
        let backwards: Vec<u64> = (100..700).rev().collect();
        let pairs: Vec<u64> = (0..300).flat_map(|i| [1500 - i * 3, 1501 - i * 3]).collect();
        for length in [1, 2, 255, 256, 257, 511, 512, 513, 1900] {
            maps(vm, 77, &scattered(length));
        }
        for list in [contiguous, backwards, pairs, vec![64; 300]] {
            maps(vm, 0x1234, &list);
            maps(vm, 512, &list);
        }
        vm.end();
    });
}

/// Frames that follow each other in the machine, too, and a list that could be a large leaf.
#[test]
fn a_list_of_frames_in_a_row_is_mapped_like_any_other() {
    let mut config = Config::one_guest(4096);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(1024), 1024).unwrap()];
    with(&config, |vm| {
        vm.attached_context();
        for first in [1024, 1025, 1500] {
            let list: Vec<u64> = (first..first + 512).collect();
            maps(vm, 0x400, &list);
        }
        vm.end();
    });
}

#[test]
fn a_list_keeps_what_is_mapped_before_the_entry_that_cannot_be() {
    for (at, bad) in [(0, PAGES), (5, u64::MAX), (256, 1 << 30), (300, PAGES), (599, u64::MAX - 1)]
    {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            let mut list = scattered(600);
            list[at] = bad;
            lay_list(vm, &list);
            let done = u32::try_from(at).unwrap();
            let (status, mapped) = run_one(vm, context, map_list(100, LIST, 600));
            assert_eq!((status, mapped), (err(Errno::ENOENT), done));
            for (i, gfn) in (0..).zip(&list[..at]).step_by(13) {
                assert!(vm.lands_in(DEVICE, 100 + i, *gfn));
            }
            assert!(vm.hits_background(DEVICE, 100 + u64::from(done)));
            assert_eq!(vm.bed.counters().references_live, at as u64);
            vm.end();
        });
    }
}

#[test]
fn a_list_stops_at_a_bus_frame_that_is_mapped() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        for at in [0, 1, 255, 256, 400] {
            assert_eq!(vm.map(context, 100 + at, 3, 1, RW), (0, 1));
            lay_list(vm, &scattered(500));
            let expected = (err(Errno::EADDRINUSE), u32::try_from(at).unwrap());
            assert_eq!(run_one(vm, context, map_list(100, LIST, 500)), expected);
            assert!(vm.lands_in(DEVICE, 100 + at, 3));
            assert_eq!(vm.bed.counters().references_live, at + 1);
            assert_eq!(run_one(vm, context, skip_holes(100, 500)).0, 0);
        }
        vm.end();
    });
}

#[test]
fn a_list_that_is_no_memory_is_a_fault_of_its_element() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let end = 64 << 12;
        let bad = [1 << 40, u64::MAX, u64::MAX - 6, u64::MAX - 7, 1 << 63, end, end - 4];
        for at in bad {
            let mut elements = [map(90, 2, 1), map_list(100, at, 3), map(91, 3, 1)];
            assert_eq!(run(vm, context, STOP, &mut elements), (0, 2), "{at:#x}");
            assert_eq!(statuses(&elements[..2]), [Ok(()), Err(Errno::EFAULT)]);
            assert_eq!(elements[1].done, 0);
            assert!(vm.hits_background(DEVICE, 100));
            assert_eq!(run_one(vm, context, unmap(90, 1)), (0, 1));
        }
        vm.end();
    });
}

/// Of a list that leaves memory, what is counted as done is mapped, and nothing else.
#[test]
fn a_list_that_leaves_memory_is_mapped_as_far_as_it_says() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        let list = scattered(512);
        let at = (PAGES << 12) - 300 * 8;
        let bytes: Vec<u8> = list[..300].iter().flat_map(|gfn| gfn.to_le_bytes()).collect();
        vm.bed.guest_write(GUEST, at, &bytes);
        let (status, done) = run_one(vm, context, map_list(100, at, 512));
        assert_eq!(status, err(Errno::EFAULT));
        assert!(done <= 300, "{done}");
        for i in 0..u64::from(done) {
            assert!(vm.lands_in(DEVICE, 100 + i, list[usize::try_from(i).unwrap()]));
        }
        assert!((u64::from(done)..512).all(|i| vm.hits_background(DEVICE, 100 + i)));
        assert_eq!(vm.bed.counters().references_live, u64::from(done));
        vm.end();
    });
}

/// An entry may lie over the end of a page, at any byte.
#[test]
fn a_list_may_begin_at_any_byte() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        for at in [0x3_0ff1, 0x3_0fff, 0x3_0ff8, 0x3_0001] {
            let list = [20u64, 9, 4, 5];
            let bytes: Vec<u8> = list.iter().flat_map(|gfn| gfn.to_le_bytes()).collect();
            vm.bed.guest_write(GUEST, at, &bytes);
            assert_eq!(run_one(vm, context, map_list(100, at, 4)), (0, 4));
            assert!((0..).zip(list).all(|(i, gfn)| vm.lands_in(DEVICE, 100 + i, gfn)));
            assert_eq!(run_one(vm, context, unmap(100, 4)), (0, 4));
        }
        vm.end();
    });
}

#[test]
fn several_lists_may_share_a_batch_and_their_memory() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        lay_list(vm, &[20, 9, 4, 5, 17]);
        let read = element(BatchOp::MAP_LIST, ElementFlags::READ, 200, LIST + 16, 3);
        let mut elements = [map_list(100, LIST, 5), read, lookup(103), lookup(202)];
        assert_eq!(run(vm, context, STOP, &mut elements), (0, 4));
        assert_eq!(statuses(&elements), [Ok(()); 4]);
        assert_eq!((elements[2].page, elements[2].flags), (5, READ_WRITE));
        assert_eq!((elements[3].page, elements[3].flags), (17, ElementFlags::READ));
        vm.end();
    });
}

/// No two of these overlap: no byte was read twice.
fn read_once(copies: &[Copied]) {
    let mut read: Vec<_> = copies
        .iter()
        .filter(|copied| !copied.out)
        .map(|copied| (copied.address, copied.address + copied.bytes as u64))
        .collect();
    read.sort_unstable();
    for pair in read.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{:x?} and {:x?}", pair[0], pair[1]);
    }
}

/// INV-50: header, elements and lists, each byte once an entry.
#[test]
fn every_byte_of_a_batch_is_read_once_an_entry() {
    for yields in [false, true] {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            let board = vm.bed.board();
            lay_list(vm, &scattered(1500));
            let mut elements: Vec<_> = (0..300).map(|i| map(8000 + i * 2, 9, 1)).collect();
            elements[7] = map_list(100, LIST, 700);
            elements[200] = map_list(1000, LIST + 700 * 8, 800);
            elements[201] = unmap(100, 300);
            let total: u32 = elements.iter().map(|element| element.nr).sum();
            begin(&mut elements);
            lay(vm, &header(context, STOP, 300), &elements);
            if yields {
                vm.bed.schedule().set(Step::Yield, When::Every(1));
            }
            let mut entries = 0;
            loop {
                board.record_copies(true);
                let outcome = step(vm);
                board.record_copies(false);
                read_once(&board.take_copies());
                entries += 1;
                if outcome == Outcome::Done(0) {
                    break;
                }
                assert_eq!(outcome, Outcome::Continue);
            }
            assert_eq!(entries > 4, yields);
            let (batch, elements) = look(vm);
            assert_eq!(batch.nr_done, 300);
            let done: u32 = elements.iter().map(|element: &BatchElement| element.done).sum();
            assert_eq!(done, total);
            vm.bed.schedule().clear();
            vm.end();
        });
    }
}
