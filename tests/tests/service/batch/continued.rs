//! Batches that give way: the same result as without, progress each time, nothing trusted.

use pviommu_abi::{Batch, BatchElement, BatchFlags, ContextId, ElementFlags, Errno};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::{Step, When};
use zerocopy::IntoBytes;

use crate::batch::kit::{
    LIST, RUN_ALL, STOP, begin, flush, header, is_untouched, lay, lay_list, look, lookup, map,
    map_list, run, skip_holes, statuses, step, unmap, unmap_later,
};
use crate::kit::{RW, Vm, with_guest};

const PAGES: u64 = 2000;

/// Pages of work between two looks whether to give way (INV-54).
const UNIT: u64 = 256;

fn yielding_every(vm: &Vm<'_>, n: u64) {
    vm.bed.schedule().set(Step::Yield, When::Every(n));
}

/// What an array has done so far: elements finished, and pages in all.
fn progress(batch: &Batch, elements: &[BatchElement]) -> (u64, u64) {
    let finished = usize::try_from(batch.nr_done).unwrap();
    let begun = elements.get(finished).filter(|element| !is_untouched(element));
    let done = elements[..finished].iter().chain(begun).map(|element| u64::from(element.done));
    (finished as u64, done.sum())
}

/// Pages passed over are no work: as many as the tables say are passed at a time.
fn passes_over(elements: &[BatchElement]) -> bool {
    elements.iter().any(|element| element.flags.contains(ElementFlags::SKIP_HOLES))
}

/// Runs a batch entry by entry, each of which gives way at its first look. After each, what is
/// finished is told, what is not is untouched, and no more was done than there may be between looks.
fn run_in_steps(vm: &Vm<'_>, context: ContextId, flags: BatchFlags, elements: &mut [BatchElement]) {
    begin(elements);
    let asked = elements.to_vec();
    lay(vm, &header(context, flags, elements.len()), elements);
    yielding_every(vm, 1);
    let (mut finished, mut pages) = (0, 0);
    loop {
        let outcome = step(vm);
        let (batch, seen) = look(vm);
        let done = usize::try_from(batch.nr_done).unwrap();
        for (element, asked) in seen.iter().zip(&asked).skip(done + 1) {
            assert_eq!(element.as_bytes(), asked.as_bytes(), "not its turn yet");
        }
        let begun = seen.get(done).zip(asked.get(done));
        if let Some((element, asked)) = begun {
            let inputs = BatchElement { done: asked.done, ..*element };
            assert_eq!(inputs.as_bytes(), asked.as_bytes(), "only its count is written");
        }
        let now = progress(&batch, &seen);
        let of_entry = &seen[finished as usize..seen.len().min(done + 1)];
        let counted = if passes_over(of_entry) { 0 } else { now.1 - pages };
        let work = (now.0 - finished).max(counted);
        assert!(work <= UNIT, "{work} pages or elements without a look");
        if outcome == Outcome::Done(0) {
            elements.copy_from_slice(&seen);
            break;
        }
        assert_eq!(outcome, Outcome::Continue);
        assert!(now != (finished, pages), "an entry without progress");
        let next = seen[done];
        assert!(next.done < next.nr, "{next:?} is what the next entry begins with");
        (finished, pages) = now;
    }
    vm.bed.schedule().clear();
}

/// A batch with a bit of everything, and errors in between.
fn medley(context: ContextId, vm: &Vm<'_>) -> Vec<BatchElement> {
    let list: Vec<u64> = (0..600).map(|i| 64 + i * 11 % 1900).collect();
    lay_list(vm, &list);
    assert_eq!(vm.map(context, 5000, 70, 40, RW), (0, 40));
    let mut elements = vec![
        map(100, 64, 700),
        lookup(799),
        map_list(1000, LIST, 600),
        unmap(110, 300),
        map(4980, 64, 100),
        unmap_later(5000, 40),
        flush(0, 0),
        skip_holes(0, 3000),
        lookup(5),
        map(PAGES, 64, 2000),
    ];
    elements.extend((0..200).map(|i| map(10_000 + i, 64 + i, 1)));
    elements.extend((0..200).map(|i| unmap(10_000 + i * 2, 2)));
    elements
}

/// INV-54: every entry makes progress, and the end is the same.
#[test]
fn a_batch_gives_way_and_ends_as_if_it_had_not() {
    let results = [false, true].map(|in_steps| {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            let mut elements = medley(context, vm);
            if in_steps {
                run_in_steps(vm, context, RUN_ALL, &mut elements);
            } else {
                let count = u32::try_from(elements.len()).unwrap();
                assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, count));
            }
            let references = vm.bed.counters().references_live;
            vm.end();
            let each = elements.iter().map(|e| (e.op.0, e.status, e.done, e.page, e.flags.bits()));
            (each.collect::<Vec<_>>(), references)
        })
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn small_elements_are_run_to_the_end_in_steps() {
    for count in [1u64, 100, 128, 129, 256, 500, 1024] {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            let mut elements: Vec<_> = (0..count).map(|i| map(i * 2, 64 + i, 1)).collect();
            run_in_steps(vm, context, STOP, &mut elements);
            assert!(elements.iter().all(|element| (element.status, element.done) == (0, 1)));
            assert_eq!(vm.bed.counters().references_live, count);
            let mut elements: Vec<_> = (0..count).map(|i| lookup(i * 2)).collect();
            run_in_steps(vm, context, STOP, &mut elements);
            assert!((64..).zip(&elements).all(|(gfn, element)| element.page == gfn));
            vm.end();
        });
    }
}

#[test]
fn one_element_of_thousands_of_pages_is_run_in_steps() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        let list: Vec<u64> = (0..1900).map(|i| 64 + i * 7 % 1936).collect();
        lay_list(vm, &list);
        let pages = 1900;
        for mut element in [map(77, 64, pages), map_list(77, LIST, pages)].map(|e| [e]) {
            run_in_steps(vm, context, STOP, &mut element);
            assert_eq!((element[0].status, element[0].done), (0, pages));
            assert_eq!(vm.bed.counters().references_live, u64::from(pages));
            let mut element = [unmap(77, pages)];
            run_in_steps(vm, context, STOP, &mut element);
            assert_eq!((element[0].status, element[0].done), (0, pages));
            assert_eq!(vm.bed.counters().references_live, 0);
        }
        vm.end();
    });
}

/// INV-54: also where an element is little work, and there are many.
#[test]
fn it_is_asked_at_least_every_256_elements_whether_to_give_way() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        let kinds: [fn(u64) -> BatchElement; 4] =
            [lookup, |i| map(i, 64 + i, 1), |i| unmap_later(i, 1), |i| map(i, u64::MAX, 7)];
        for kind in kinds {
            let mut elements: Vec<_> = (0..1024).map(kind).collect();
            let before = vm.bed.schedule().calls(Step::Yield);
            assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 1024));
            let looks = vm.bed.schedule().calls(Step::Yield) - before;
            // At the end there is nothing to give way for.
            assert!(looks >= 1024 / UNIT - 1, "{looks} looks at {:?}", elements[0]);
        }
        vm.end();
    });
}

/// The same, where the pages are what counts: just too few in a page of elements for a look.
#[test]
fn pages_of_many_elements_add_up_to_a_look() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        // 128 elements of a page of the array, 127 pages in them.
        let mut elements: Vec<_> = (0..1024)
            .map(|i| if i % 128 == 5 { lookup(3) } else { map(9000 + i, 64 + i, 1) })
            .collect();
        run_in_steps(vm, context, RUN_ALL, &mut elements);
        assert_eq!(statuses(&elements)[5], Err(Errno::ENOENT));
        assert_eq!(vm.bed.counters().references_live, 1016);
        vm.end();
    });
}
