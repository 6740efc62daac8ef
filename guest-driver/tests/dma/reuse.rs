//! Mappings that are kept for buffers that come again.

use std::num::NonZeroUsize;

use pviommu_abi::{DomId, Errno, Gfn};
use pviommu_guest::dma::{Device, Direction, DmaStorage, Reusing};

use crate::fake::{Call, Page, machine};
use crate::kit::{
    DEVICE, LOW, Memory, alive, calls, entries, flushes, leads, leads_to, mapped, open, page,
};

type Storage = DmaStorage<1024, 2>;

fn reusing<'s>(
    space: &'s pviommu_guest::DmaSpace<'_, Call>,
    kept: usize,
) -> Device<'s, Call, Reusing> {
    space.attach(DEVICE, LOW).unwrap().reusing(NonZeroUsize::new(kept).unwrap())
}

/// Maps the pages of these frames and unmaps them, as a driver that trusts the device; says where they were.
fn once(device: &Device<'_, Call, Reusing>, frames: &[u64], direction: Direction) -> u64 {
    let mapping = device.map(Memory::new(frames), direction).unwrap();
    let address = mapping.address();
    drop(mapping.unmap().accept_exposure());
    address
}

#[test]
fn pages_that_come_again_are_mapped_already() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 8);
    let list = [5, 9, 2, 7];
    let address = once(&device, &list, Direction::FromDevice);
    let before = calls();
    for _ in 0..10 {
        assert_eq!(once(&device, &list, Direction::FromDevice), address);
    }
    assert_eq!((calls() - before, device.hits(), device.kept()), (0, 10, 1));
    assert!(leads_to(address, 5), "that is the price");
    assert_eq!(alive(), 0);
}

#[test]
fn other_pages_another_order_or_another_direction_are_another_mapping() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 8);
    let all = [
        once(&device, &[5, 9], Direction::FromDevice),
        once(&device, &[5, 9], Direction::ToDevice),
        once(&device, &[5, 9], Direction::Both),
        once(&device, &[9, 5], Direction::FromDevice),
        once(&device, &[5, 9, 1], Direction::FromDevice),
        once(&device, &[5], Direction::FromDevice),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((distinct.len(), device.hits(), device.kept()), (6, 0, 6));
}

#[test]
fn buffers_of_the_same_pages_share_a_mapping_until_the_last_has_gone() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 8);
    let part = |offset: u64| pviommu_guest::dma::Piece { address: 0x5000 + offset, length: 0x40 };
    let one = device.map(part(0x80), Direction::ToDevice).unwrap();
    let before = calls();
    let two = device.map(part(0xf00), Direction::ToDevice).unwrap();
    assert_eq!((calls() - before, device.hits()), (0, 1));
    assert_eq!((one.address() & 0xfff, two.address() & 0xfff), (0x80, 0xf00));
    assert_eq!(one.address() >> 12, two.address() >> 12);
    one.unmap().accept_exposure();
    assert_eq!(device.kept(), 0, "the other has it");
    let place = two.address();
    // Dropped, it is unmapped and not kept.
    drop(two);
    assert!(!leads_to(place, 5));
    assert_eq!((device.kept(), entries()), (0, vec![]));
}

#[test]
fn no_more_are_kept_than_was_asked_for_and_the_oldest_goes() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 4);
    let first = once(&device, &[1], Direction::Both);
    for frame in [3, 5, 7] {
        once(&device, &[frame], Direction::Both);
    }
    once(&device, &[1], Direction::Both);
    once(&device, &[9], Direction::Both);
    assert_eq!(device.kept(), 4);
    space.flush().unwrap();
    let mut frames: Vec<_> = entries().iter().map(|(_, frame)| *frame).collect();
    frames.sort_unstable();
    assert_eq!(frames, [1, 5, 7, 9], "3 was used the longest ago");
    assert!(leads_to(first, 1));
}

#[test]
fn those_that_go_share_calls_and_flushes() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 16);
    let (before, flushed) = (calls(), flushes());
    let rounds = 1000;
    for frame in 0..rounds {
        once(&device, &[2 * frame], Direction::Both);
    }
    assert_eq!(calls() - before, rounds, "no call but the maps");
    assert!(flushes() - flushed <= rounds / 64);
    assert!(entries().len() <= 16 + 128);
}

#[test]
fn a_buffer_that_is_reclaimed_is_out_of_reach() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 2);
    let kept = |frame: u64| device.map(Memory::new(&[frame]), Direction::Both).unwrap().unmap();
    let first = kept(1);
    assert_eq!(entries().len(), 1);
    drop(first.reclaim().unwrap());
    assert_eq!(entries(), []);

    // Also if its mapping has gone meanwhile, and waits.
    let first = kept(1);
    let others = [kept(3), kept(5)];
    assert_eq!((device.kept(), entries().len()), (2, 3));
    drop(first.reclaim().unwrap());
    assert!(entries().iter().all(|(_, frame)| *frame != 1));
    // Dropped is reclaimed.
    drop(others);
    assert_eq!((entries(), alive()), (vec![], 0));

    let first = kept(1);
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let still = first.reclaim().unwrap_err();
    assert_eq!(alive(), 1);
    machine(|machine| machine.unmap_fails = None);
    drop(still.mapping.reclaim().unwrap());
    assert_eq!((entries(), alive()), (vec![], 0));
}

/// A part of it may have gone: nobody is to find it as if it were whole.
#[test]
fn what_could_not_be_unmapped_is_not_found_again() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 2);
    let map = || device.map(Memory::new(&[1, 7]), Direction::Both).unwrap();
    for taken_back in [false, true] {
        let first = map();
        let address = first.address();
        let kept = first.unmap();
        machine(|machine| machine.unmap_fails = Some(Errno::EIO));
        let still = kept.reclaim().unwrap_err();
        let other = device.map(Memory::new(&[1, 7]), Direction::ToDevice).unwrap().unmap();
        let still_other = other.reclaim().unwrap_err();
        assert_eq!(device.kept(), 0);
        let second = map();
        assert_ne!(second.address(), address, "a mapping of its own");
        machine(|machine| machine.unmap_fails = None);
        drop(still_other);
        match taken_back {
            false => drop(still.mapping.accept_exposure()),
            true => drop(still.mapping.reclaim().unwrap()),
        }
        assert!(leads_to(second.address(), 1));
        drop(second.unmap().reclaim().unwrap());
        space.flush().unwrap();
        assert_eq!((entries(), alive()), (vec![], 0));
    }
    assert_eq!(device.hits(), 0);
}

/// The one that goes for another is not unmapped either: who has its buffer does not get it back as safe.
#[test]
fn what_had_to_go_and_could_not_be_unmapped_is_reclaimed_by_who_has_its_buffer() {
    // Without batches nothing waits, and each unmap is a call of its own.
    machine(|machine| machine.capabilities = pviommu_abi::CapabilityFlags::empty());
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 1);
    let kept = |frame: u64| device.map(Memory::new(&[frame]), Direction::Both).unwrap().unmap();
    let first = kept(1);
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let second = kept(3);
    machine(|machine| machine.unmap_fails = None);
    drop(first.reclaim().unwrap());
    assert!(entries().iter().all(|(_, frame)| *frame != 1));
    drop(second.reclaim().unwrap());
    assert_eq!((entries(), alive()), (vec![], 0));
}

#[test]
fn when_the_device_goes_nothing_is_kept() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 100);
    for frame in 0..100 {
        once(&device, &[2 * frame], Direction::Both);
    }
    assert_eq!(entries().len(), 100);
    device.detach().unwrap();
    assert_eq!(entries(), []);
}

#[test]
fn pages_of_others_are_never_kept_nor_put_off() {
    let storage = Storage::new();
    let space = open(&storage);
    let kept = reusing(&space, 8);
    let later = space.attached(DEVICE, LOW).unwrap().deferred();
    let owner = DomId(4);
    machine(|machine| {
        machine.grants = [(owner, 8), (owner, 9)].into();
        machine.is_hardware_domain = true;
    });
    for round in 0..3 {
        let before = calls();
        let grants = if round % 2 == 0 {
            kept.map_grants(owner, vec![8, 9], Direction::FromDevice).unwrap()
        } else {
            later.map_grants(owner, vec![8, 9], Direction::FromDevice).unwrap()
        };
        assert_eq!(calls() - before, 1);
        let place = grants.address();
        assert!(leads(place, Page::Grant(owner, 8)));
        assert!(leads(place + 0x1000, Page::Grant(owner, 9)));
        grants.unmap().unwrap();
        assert_eq!(mapped(), 0);
        let foreign = kept.map_foreign(owner, page(0x99), Direction::ToDevice).unwrap();
        assert!(leads(foreign.address(), Page::Foreign(owner, Gfn(0x99))));
        foreign.unmap().unwrap();
        assert_eq!(mapped(), 0);
    }
    assert_eq!((kept.hits(), kept.kept()), (0, 0));

    let refused = later.map_grants(owner, vec![8, 10], Direction::FromDevice).unwrap_err();
    assert!(refused.buffer.is_some());
    assert_eq!(mapped(), 0, "the first is taken back");
    let none = later.map_grants(owner, vec![], Direction::FromDevice).unwrap_err();
    assert_eq!(none.cause, pviommu_guest::DmaError::Buffer);
}

/// INV-20: a page is not given back while it is mapped, whatever its element answers.
#[test]
fn a_grant_that_is_mapped_although_its_element_failed_is_taken_back() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let owner = DomId(4);
    machine(|machine| machine.grants = [(owner, 8), (owner, 9)].into());
    let free = space.free_pages();
    for bad in [8, 9] {
        machine(|machine| machine.bad_grant = Some((bad, Errno::EIO)));
        let failed = device.map_grants(owner, vec![8, 9], Direction::FromDevice).unwrap_err();
        assert!(matches!(failed.cause, pviommu_guest::DmaError::Map(_)), "{}", failed.cause);
        assert_eq!((mapped(), space.free_pages()), (0, free), "grant {bad}");
    }
}

#[test]
fn what_outlives_its_device_is_not_kept() {
    let storage = Storage::new();
    let space = open(&storage);
    let device = reusing(&space, 8);
    let mapping = device.map(Memory::new(&[5]), Direction::Both).unwrap();
    once(&device, &[7], Direction::Both);
    device.detach().unwrap();
    assert_eq!(entries().len(), 1, "a device is not needed for a buffer to be mapped");
    let kept = mapping.unmap();
    drop(kept.reclaim().unwrap());
    assert_eq!((entries(), alive()), (vec![], 0));
}
