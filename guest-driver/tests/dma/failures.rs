//! Calls that fail, and hypervisors that can do little: what was not flushed is never taken for safe.

use pviommu_abi::{Bfn, DomId, Errno, Gfn, Subop};
use pviommu_guest::dma::{Deferral, Direction, DmaError, DmaStorage, Remedy};
use pviommu_guest::{Error, MapError};

use crate::fake::machine::Garbage;
use crate::fake::{DEVICE, Page, machine};
use crate::kit::{LOW, Memory, alive, entries, mapped, open, page};

type Storage = DmaStorage<128, 1>;

/// Whether a device may still reach the page of this frame there.
fn is_reached(address: u64, frame: u64) -> bool {
    let bfn = Bfn::containing(address);
    let found = machine(|machine| {
        let contexts = machine.contexts.values();
        contexts.filter_map(|context| context.reach(bfn)).next()
    });
    found.is_some_and(|entry| entry.page == Page::Own(Gfn(frame)))
}

#[test]
fn an_unmap_whose_flush_failed_is_never_taken_for_made() {
    let storage = Storage::new();
    let space = open(&storage);
    let strict = space.attach(DEVICE, LOW).unwrap();
    let later = space.attached(DEVICE, LOW).unwrap().deferred();
    let first = strict.map(Memory::new(&[7]), Direction::Both).unwrap();
    let second = later.map(Memory::new(&[9]), Direction::Both).unwrap();
    let places = [(first.address(), 7), (second.address(), 9)];
    machine(|machine| machine.flush_fails = Some(Errno::EIO));

    let still = first.unmap().unwrap_err();
    assert_eq!(still.cause.remedy(), Remedy::ResetDevice);
    assert_eq!(entries(), [(places[1].0 >> 12, 9)], "it was taken out, and not flushed");
    let waits = second.unmap().unwrap();
    let failed = waits.take().unwrap_err();
    assert_eq!(failed.cause.remedy(), Remedy::ResetDevice);
    // Once the hardware did not answer, the hypervisor never goes on there.
    machine(|machine| machine.flush_fails = None);
    let still = still.mapping.unmap().unwrap_err();
    let failed = failed.mapping.take().unwrap_err();
    assert!(places.iter().all(|(address, frame)| is_reached(*address, *frame)));
    drop((still, failed));
    assert_eq!(alive(), 2, "forgotten");
}

#[test]
fn an_unmap_whose_answer_cannot_be_believed_is_made_again_before_its_buffer_comes_back() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let waits = [7, 9].map(|frame| {
        let mapping = device.map(Memory::new(&[frame]), Direction::Both).unwrap();
        mapping.unmap().unwrap()
    });
    let free = space.free_pages();
    machine(|machine| machine.garbage = Some((Subop::BATCH, Garbage::Element)));
    let failed = space.flush().unwrap_err();
    let DmaError::StillMapped(MapError { cause: Error::BadReply(_), .. }) = failed else {
        panic!("{failed}")
    };
    assert!(waits.iter().all(|waits| !waits.is_safe()), "who knows what was unmapped?");
    assert_eq!(space.free_pages(), free);
    space.flush().unwrap();
    assert!(waits.iter().all(|waits| waits.is_safe()));
    assert_eq!((entries(), space.free_pages()), (vec![], free + 2));
}

/// INV-20: whichever of them failed first: a call that fails says of no element that it was the last to be begun.
#[test]
fn all_that_a_call_may_have_mapped_is_taken_back_when_it_fails() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let owner = DomId(4);
    machine(|machine| machine.grants = (8..14).map(|grant| (owner, grant)).collect());
    let free = space.free_pages();
    let fails = || machine(|machine| machine.garbage = Some((Subop::BATCH, Garbage::Call)));
    fails();
    let grants: Vec<u64> = (8..14).collect();
    let failed = device.map_grants(owner, grants, Direction::Both).unwrap_err();
    assert!(matches!(failed.cause, DmaError::Map(_)), "{}", failed.cause);
    assert_eq!((mapped(), space.free_pages()), (0, free));
    fails();
    // Runs that are shorter as elements than as a list.
    let runs: Vec<u64> = (0..4).flat_map(|run| run * 100..run * 100 + 20).collect();
    let apart = Memory::new(&runs);
    let failed = device.map(apart, Direction::Both).unwrap_err();
    assert!(matches!(failed.cause, DmaError::Map(_)), "{}", failed.cause);
    drop(failed);
    assert_eq!((mapped(), alive(), space.free_pages()), (0, 0, free));
}

#[test]
fn unmaps_to_be_issued_again_are() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let mut waits = Vec::new();
    for first in [10, 20, 30] {
        let memory = Memory::new(&[first, first + 1, first + 2]);
        waits.push(device.map(memory, Direction::Both).unwrap().unmap().unwrap());
    }
    machine(|machine| machine.retries = 5);
    space.flush().unwrap();
    assert!(waits.iter().all(|waits| waits.is_safe()));
    drop(waits);
    assert_eq!((entries(), alive()), (vec![], 0));
}

#[test]
fn without_room_for_a_flush_unmaps_are_strict() {
    for most in [1, 2] {
        machine(|machine| machine.most_elements = most);
        let storage = Storage::new();
        let deferral = Deferral { unmaps: 2, microseconds: 1000 };
        let space = open(&storage).with_deferral(deferral);
        let device = space.attach(DEVICE, LOW).unwrap().deferred();
        for frame in 0..20 {
            let pieces = [page(2 * frame), page(100 + 3 * frame)];
            let waits = device.map(pieces, Direction::Both).unwrap().unmap().unwrap();
            assert_eq!(waits.is_safe(), most == 1);
            waits.take().unwrap();
        }
        assert_eq!(entries(), []);
    }
}

#[test]
fn an_unmap_that_never_ends_is_told() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let waits = device.map(Memory::new(&[1]), Direction::Both).unwrap().unmap().unwrap();
    machine(|machine| machine.unmap_fails = Some(Errno::EAGAIN));
    let cause = space.flush().unwrap_err();
    let again = MapError { done: 0, cause: Error::Retry(Errno::EAGAIN) };
    assert_eq!(cause, DmaError::StillMapped(again));
    machine(|machine| machine.unmap_fails = None);
    space.flush().unwrap();
    assert!(waits.is_safe());
}
