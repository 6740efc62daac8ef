//! Unmaps that are made later, many at a time.

use pviommu_abi::{Bfn, Errno};
use pviommu_guest::dma::{Deferral, Deferred, Device, Direction, DmaError, DmaStorage, Pending};

use crate::fake::{Call, machine};
use crate::kit::{
    DEVICE, LOW, Memory, alive, calls, entries, flushes, leads_to, open, page, pages, pass, run_on,
};

type Storage = DmaStorage<1024, 2>;
type Driver<'s> = Device<'s, Call, Deferred>;

/// Maps the page of a frame and has it unmapped later; with the bus address it had.
fn pending<'d>(device: &'d Driver<'_>, frame: u64) -> (u64, Pending<'d, Call, Memory>) {
    let mapping = device.map(Memory::new(&[frame]), Direction::Both).unwrap();
    (mapping.address(), mapping.unmap().unwrap())
}

#[test]
fn a_buffer_does_not_come_back_before_its_unmap() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let before = calls();
    let (address, waits) = pending(&device, 7);
    assert_eq!(calls() - before, 1, "the map");
    assert!(leads_to(address, 7) && !waits.is_safe());
    let waits = waits.try_take().unwrap_err();
    assert!(leads_to(address, 7), "asking changes nothing");
    let memory = waits.take().unwrap();
    assert_eq!((entries(), alive()), (vec![], 1));
    drop(memory);

    let (address, waits) = pending(&device, 8);
    assert!(leads_to(address, 8));
    drop(waits);
    assert_eq!((entries(), alive()), (vec![], 0), "unmapped, and then dropped");

    let mapping = device.map(Memory::new(&[9]), Direction::Both).unwrap();
    drop(mapping);
    assert_eq!((entries(), alive()), (vec![], 0), "a mapping that is dropped is unmapped at once");
}

#[test]
fn many_unmaps_ride_along_with_a_map_and_share_a_flush() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let (before, flushed) = (calls(), flushes());
    let mut waits = Vec::new();
    let rounds = 1000;
    for frame in 0..rounds {
        waits.push(pending(&device, 2 * frame + 1).1);
        // As soon as it may.
        waits = waits.into_iter().filter_map(|waits| waits.try_take().err()).collect();
        assert!(waits.len() <= 128 && alive() == waits.len());
    }
    assert_eq!(calls() - before, rounds, "no call but the maps");
    assert!(flushes() - flushed <= rounds / 64, "{} flushes", flushes() - flushed);
    space.flush().unwrap();
    assert!(waits.iter().all(Pending::is_safe));
    assert_eq!(entries(), []);
}

#[test]
fn bus_frames_are_nobody_elses_before_the_flush() {
    let storage = Storage::new();
    machine(|machine| machine.aperture = (Bfn(0x100), Bfn(0x10f)));
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let mut waits = Vec::new();
    for frame in 0..16 {
        let (address, waiting) = pending(&device, frame);
        waits.push((address, frame, waiting));
        for (address, frame, _) in &waits {
            assert!(leads_to(*address, *frame), "still the page it was");
        }
    }
    // Nothing is left; what waits is unmapped to make room.
    let before = flushes();
    let mapping = device.map(page(99), Direction::Both).unwrap();
    assert_eq!(flushes() - before, 1);
    assert_eq!(entries(), [(mapping.address() >> 12, 99)]);
    assert!(waits.iter().all(|(_, _, waits)| waits.is_safe()));
}

#[test]
fn nothing_waits_longer_than_it_may() {
    let storage = Storage::new();
    let space = open(&storage).with_deferral(Deferral { unmaps: 64, microseconds: 500 });
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let (_, first) = pending(&device, 1);
    pass(499);
    let (_, second) = pending(&device, 3);
    space.poll().unwrap();
    assert!(!first.is_safe());
    pass(1);
    space.poll().unwrap();
    assert!(first.is_safe() && second.is_safe(), "the one that came later goes with it");

    // A map notices, too.
    let (_, third) = pending(&device, 1);
    pass(500);
    let before = calls();
    let mapping = device.map(page(9), Direction::Both).unwrap();
    assert_eq!(calls() - before, 1);
    assert!(third.is_safe());
    assert_eq!(entries(), [(mapping.address() >> 12, 9)]);
}

#[test]
fn a_driver_that_only_unmaps_has_a_call_for_every_128() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let mapped: Vec<_> =
        (0..900).map(|frame| device.map(page(2 * frame), Direction::Both).unwrap()).collect();
    let before = calls();
    let waits: Vec<_> = mapped.into_iter().map(|mapping| mapping.unmap().unwrap()).collect();
    assert!(calls() - before <= 900 / 128, "{} calls", calls() - before);
    let unsafe_yet = waits.iter().filter(|waits| !waits.is_safe()).count();
    assert!(unsafe_yet <= 256, "{unsafe_yet} wait");
}

#[test]
fn what_cannot_be_unmapped_goes_on_waiting() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let (address, waits) = pending(&device, 7);
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let still = waits.take().unwrap_err();
    assert!(matches!(still.cause, DmaError::StillMapped(_)), "{still}");
    assert!(leads_to(address, 7) && !still.mapping.is_safe());
    assert_eq!(alive(), 1);
    machine(|machine| machine.unmap_fails = None);
    drop(still.mapping.take().unwrap());
    assert_eq!((entries(), alive()), (vec![], 0));

    let (_, waits) = pending(&device, 7);
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    drop(waits);
    assert_eq!(alive(), 1, "forgotten");
    machine(|machine| machine.unmap_fails = None);
}

#[test]
fn a_full_queue_that_does_not_move_is_an_error_with_the_mapping_in_it() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let mapped: Vec<_> = (0..300)
        .map(|frame| device.map(Memory::new(&[2 * frame]), Direction::Both).unwrap())
        .collect();
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let (mut waits, mut failed) = (Vec::new(), Vec::new());
    for mapping in mapped {
        match mapping.unmap() {
            Ok(waiting) => waits.push(waiting),
            Err(still) => failed.push(still.mapping),
        }
    }
    assert_eq!((waits.len(), failed.len(), alive()), (256, 44, 300));
    assert_eq!(entries().len(), 300);
    machine(|machine| machine.unmap_fails = None);
    drop((waits, failed));
    assert_eq!((entries(), alive(), space.lost_pages()), (vec![], 0, 0));
}

#[test]
fn a_map_that_fails_leaves_what_waits_waiting() {
    let storage = Storage::new();
    let space = open(&storage).with_deferral(Deferral { unmaps: 1, microseconds: 1000 });
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let (address, waits) = pending(&device, 7);
    machine(|machine| machine.bad_frame = Some((pviommu_abi::Gfn(9), Errno::EPERM)));
    device.map(pages(&[8, 9]), Direction::Both).unwrap_err();
    assert!(!waits.is_safe() && leads_to(address, 7));
    assert_eq!(entries().len(), 1);
    machine(|machine| machine.bad_frame = None);
    let mapping = device.map(pages(&[8, 9]), Direction::Both).unwrap();
    assert!(waits.is_safe());
    drop(mapping);
    assert_eq!(entries(), []);
}

#[test]
fn a_limit_that_is_reached_has_what_waits_unmapped() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    machine(|machine| machine.most_entries = Some(4));
    let mut waits = Vec::new();
    for frame in 0..40 {
        // Five do not fit, unless those that wait go.
        waits.push(pending(&device, 2 * frame).1);
        assert!(entries().len() <= 4);
    }
    drop(waits);
    let all: Vec<_> =
        (0..4).map(|frame| device.map(page(2 * frame), Direction::Both).unwrap()).collect();
    let full = device.map(page(90), Direction::Both).unwrap_err();
    assert_eq!(full.cause.remedy(), pviommu_guest::dma::Remedy::UnmapFirst);
    drop(all);
}

#[test]
fn any_cpu_may_take_what_another_unmapped() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap().deferred();
    let mut waits = Vec::new();
    for round in 0..500 {
        run_on(round % 5);
        let (_, waiting) = pending(&device, 2 * round as u64);
        waits.push(waiting);
    }
    run_on(3);
    space.flush().unwrap();
    assert!(waits.iter().all(Pending::is_safe));
    assert_eq!(entries(), []);
}
