//! Unmaps before the call returns, and all that does not depend on the mode.

use pviommu_abi::{AllocFlags, Bfn, ContextId, Errno, Gfn, MapFlags, Subop};
use pviommu_guest::dma::{
    Device, Direction, DmaError, DmaSpace, DmaStorage, Mapping, Piece, Remedy,
};
use pviommu_guest::{BfnError, Error, IommuClient, MapError};

use crate::fake::machine::Garbage;
use crate::fake::queries::reserved;
use crate::fake::tables::Entry;
use crate::fake::{Call, Page, machine};
use crate::kit::{
    DEVICE, LOW, Memory, OTHER, add_other, alive, calls, context_of, entries, flushes, granted,
    has_context, leads_to, open, page, pages, space,
};

type Small = DmaStorage<32, 2>;

#[test]
fn a_list_is_one_call_and_one_range_of_the_bus() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    for frames in [&[7_u64, 8, 9][..], &[7, 8, 9, 3, 4, 100], &[9, 7, 5, 3, 1]] {
        let before = calls();
        let mapping = device.map(pages(frames), Direction::FromDevice).unwrap();
        assert_eq!(calls() - before, 1, "{frames:?}");
        let segments: Vec<_> = mapping.segments().collect();
        let [segment] = segments[..] else { panic!("{segments:?}") };
        assert_eq!(segment.address, mapping.address());
        assert_eq!(segment.length, 0x1000 * frames.len() as u64);
        let first = mapping.address() >> 12;
        let expected: Vec<_> = (first..).zip(frames.iter().copied()).collect();
        assert_eq!(entries(), expected);

        let before = calls();
        mapping.unmap().unwrap();
        assert_eq!((calls() - before, entries()), (1, vec![]));
    }
}

#[test]
fn a_list_of_hundreds_of_pages_is_one_call_and_more_is_more() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    // No two follow each other.
    let scattered = |count: u64| (0..count).map(|page| 2 * page + 1).collect::<Vec<_>>();
    for (count, most) in [(128, 1), (508, 1), (509, 2), (2000, 4)] {
        let before = calls();
        let mapping = device.map(pages(&scattered(count)), Direction::ToDevice).unwrap();
        assert_eq!(calls() - before, most, "{count} pages");
        assert_eq!(entries().len(), count as usize);
        let before = calls();
        mapping.unmap().unwrap();
        assert_eq!((calls() - before, entries()), (1, vec![]));
    }
}

#[test]
fn a_device_may_do_what_the_direction_says_and_no_more() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    for (direction, flags) in [
        (Direction::ToDevice, MapFlags::READABLE),
        (Direction::FromDevice, MapFlags::WRITEABLE),
        (Direction::Both, MapFlags::READABLE | MapFlags::WRITEABLE),
    ] {
        // By a call for one run, and by a batch.
        for frames in [&[5_u64][..], &[5, 7]] {
            let mapping = device.map(pages(frames), direction).unwrap();
            assert!(granted().iter().all(|granted| *granted == flags), "{:?}", granted());
            mapping.unmap().unwrap();
        }
    }
}

#[test]
fn only_what_a_device_reaches_as_a_whole_is_handed_out() {
    let storage = Small::new();
    let space = open(&storage);
    for (mask, last) in
        [(LOW, 0xf_ffff), (0xffff_f000, 0xf_fffe), (0x1fff, 1), (u64::MAX, (1 << 36) - 1)]
    {
        let device = space.attach(DEVICE, mask).unwrap();
        let mapping = device.map(page(5), Direction::Both).unwrap();
        assert!(mapping.address() >> 12 <= last, "{mask:#x}: {:#x}", mapping.address());
        mapping.unmap().unwrap();
        device.detach().unwrap();
    }
    // Bus frame 0 is no bus frame.
    for mask in [0, 0xffe, 0xfff, 0x1ffe] {
        let error = space.attach(DEVICE, mask).unwrap_err();
        assert_eq!(error, DmaError::OutOfReach { mask });
        assert_eq!(error.remedy(), Remedy::Correct);
    }
}

#[test]
fn what_is_reserved_is_never_handed_out() {
    machine(|machine| {
        machine.aperture = (Bfn(0xfee00 - 2), Bfn(0xfeeff + 3));
        machine.reserve(Bfn(0xfeeff + 1), Bfn(0xfeeff + 2));
    });
    add_other();
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, u64::MAX).unwrap();
    let mut got: Vec<_> = (0..3).map(|_| device.map(page(5), Direction::Both).unwrap()).collect();
    let mut at: Vec<_> = got.iter().map(|mapping| mapping.address() >> 12).collect();
    at.sort_unstable();
    assert_eq!(at, [0xfedfe, 0xfedff, 0xfef02]);
    let full = device.map(page(5), Direction::Both).unwrap_err();
    assert!(matches!(full.cause, DmaError::Bfns(BfnError::NoRoom { .. })), "{full}");
    assert_eq!(full.cause.remedy(), Remedy::UnmapFirst);

    // A device that comes later may reserve what is in use: then it does not come.
    machine(|machine| {
        let other = machine.devices.last_mut().unwrap();
        other.reserved = vec![reserved(Bfn(0xfedfe), Bfn(0xfedfe))];
    });
    let error = space.attach(OTHER, u64::MAX).unwrap_err();
    assert!(matches!(error, DmaError::Bfns(BfnError::InUse { .. })), "{error}");
    assert_eq!(context_of(OTHER), ContextId::DEFAULT);
    got.clear();
    let other = space.attach(OTHER, u64::MAX).unwrap();
    let again: Vec<_> = (0..3).map(|_| other.map(page(5), Direction::Both)).collect();
    assert_eq!(again.iter().filter(|mapped| mapped.is_ok()).count(), 2);
}

#[test]
fn devices_come_to_the_context_and_go() {
    let storage = Small::new();
    let space = open(&storage);
    let context = space.context();
    let device = space.attach(DEVICE, LOW).unwrap();
    assert_eq!(context_of(DEVICE), context);
    assert_eq!(device.isolation().unwrap().place.unwrap().context, context);
    device.detach().unwrap();
    assert_eq!(context_of(DEVICE), ContextId::DEFAULT);
    drop(space.attach(DEVICE, LOW).unwrap().deferred());
    assert_eq!(context_of(DEVICE), ContextId::DEFAULT);
    drop(space.attached(DEVICE, LOW).unwrap());
    assert!(has_context(context));
    space.close().unwrap();
    assert!(!has_context(context));
}

#[test]
fn a_driver_keeps_its_device_and_its_rings_together() {
    struct Driver<'s> {
        ring: Mapping<'s, Call, Memory>,
        device: Device<'s, Call>,
    }
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let ring = device.coherent(Memory::new(&[1, 2])).unwrap();
    let driver = Driver { ring, device };
    driver.device.detach().unwrap();
    assert_eq!((context_of(DEVICE), entries().len()), (ContextId::DEFAULT, 2));
    drop(driver.ring.unmap().unwrap());
    assert_eq!(entries(), []);
}

#[test]
fn storage_serves_one_space_at_a_time() {
    let storage = Small::new();
    let first = open(&storage);
    let second = space(&storage);
    assert!(matches!(second, Err(DmaError::Bfns(BfnError::StorageTaken))), "{second:?}");
    let contexts = machine(|machine| machine.contexts.len());
    assert_eq!(contexts, 2, "what was allocated for the second is freed");
    first.close().unwrap();
    open(&storage).close().unwrap();
}

#[test]
fn without_a_service_it_says_so() {
    machine(|machine| machine.refuses = Some((Subop::QUERY_CAPABILITIES, Errno::ENOSYS)));
    let error = space(&Small::new()).unwrap_err();
    assert_eq!(error, DmaError::NoService(Error::NotAvailable(Errno::ENOSYS)));
    assert_eq!(error.remedy(), Remedy::DoWithout);
    assert!(error.to_string().contains("no PV-IOMMU"), "{error}");
}

#[test]
fn with_v7_alone_each_run_is_a_call_and_unmaps_are_strict() {
    machine(|machine| machine.v7 = true);
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, u64::MAX).unwrap().deferred();
    let before = calls();
    let mapping = device.map(pages(&[5, 6, 9]), Direction::Both).unwrap();
    assert_eq!(calls() - before, 2);
    assert!(mapping.address() < 1 << 39, "what the capabilities tell");
    let pending = mapping.unmap().unwrap();
    assert!(pending.is_safe());
    assert_eq!(entries(), []);
    pending.try_take().unwrap();
    let owned = device.map_grants(pviommu_abi::DomId(4), vec![8], Direction::Both);
    let cause = owned.unwrap_err().cause;
    assert_eq!(cause.remedy(), Remedy::DoWithout, "{cause}");
}

#[test]
fn a_map_that_fails_leaves_nothing_and_gives_the_buffer_back() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let free = space.free_pages();
    machine(|machine| machine.bad_frame = Some((Gfn(103), Errno::EPERM)));
    for (frames, done) in [(&[102_u64, 103][..], 1), (&[40, 41, 103], 2), (&[103], 0)] {
        let failed = device.map(pages(frames), Direction::Both).unwrap_err();
        let refused = MapError { done, cause: Error::Refused(Errno::EPERM) };
        assert_eq!(failed.cause, DmaError::Map(refused));
        assert_eq!(failed.buffer.unwrap(), pages(frames));
        assert_eq!((entries(), space.free_pages()), (vec![], free));
    }
    let wraps = Piece { address: u64::MAX, length: 2 };
    for buffer in [vec![], vec![Piece { address: 0, length: 0 }], vec![wraps]] {
        let failed = device.map(buffer, Direction::Both).unwrap_err();
        assert_eq!(failed.cause, DmaError::Buffer);
        assert_eq!((entries(), space.free_pages()), (vec![], free));
    }
}

#[test]
fn what_somebody_else_mapped_stays() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let mapping = device.map(pages(&[1, 2, 3, 4]), Direction::Both).unwrap();
    let first = mapping.address() >> 12;
    mapping.unmap().unwrap();
    let theirs = Entry { page: Page::Own(Gfn(7)), access: MapFlags::READABLE };
    machine(|machine| {
        machine.context(space.context()).entries.insert(Bfn(first + 2), theirs);
    });
    for frames in [[21, 22, 23, 24], [31, 33, 35, 37]] {
        let failed = device.map(pages(&frames), Direction::Both).unwrap_err();
        let in_use = MapError { done: 2, cause: Error::Refused(Errno::EADDRINUSE) };
        assert_eq!(failed.cause, DmaError::Map(in_use));
        assert_eq!(entries(), [(first + 2, 7)]);
    }
}

#[test]
fn what_is_still_mapped_is_given_to_nobody() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let mapping = device.map(Memory::new(&[1, 2]), Direction::Both).unwrap();
    let address = mapping.address();
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let still = mapping.unmap().unwrap_err();
    assert_eq!(still.cause.remedy(), Remedy::ResetDevice);
    let other = device.map(Memory::new(&[3, 4]), Direction::Both).unwrap();
    assert_ne!(other.address(), address);

    machine(|machine| machine.unmap_fails = None);
    drop(still.mapping.unmap().unwrap());
    drop(other);
    assert_eq!((entries(), alive(), space.lost_pages()), (vec![], 0, 0), "tried again");

    // Dropped while it cannot be unmapped, it is forgotten.
    let mapping = device.map(Memory::new(&[1, 2]), Direction::Both).unwrap();
    let address = mapping.address();
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    drop(mapping);
    assert_eq!((alive(), space.lost_pages()), (1, 2));
    machine(|machine| machine.unmap_fails = None);
    let other = device.map(Memory::new(&[3, 4]), Direction::Both).unwrap();
    assert_ne!(other.address(), address, "nor are its bus frames anybody's");

    // Nor is what a map that failed could not take back.
    machine(|machine| {
        machine.unmap_fails = Some(Errno::EIO);
        machine.bad_frame = Some((Gfn(8), Errno::EPERM));
    });
    let failed = device.map(Memory::new(&[7, 8]), Direction::Both).unwrap_err();
    assert!(matches!(failed.cause, DmaError::StillMapped(_)), "{failed}");
    assert!(failed.buffer.is_none());
    assert_eq!((alive(), space.lost_pages()), (3, 4));
    machine(|machine| machine.unmap_fails = None);
    let another = device.map(Memory::new(&[13, 15]), Direction::Both).unwrap();
    assert!(leads_to(another.address(), 13), "beside it");
    assert!(entries().iter().any(|(_, frame)| *frame == 7));
    drop(other);
}

#[test]
fn what_was_gone_already_is_flushed_before_the_buffer_comes_back() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let mapping = device.map(pages(&[1, 2, 3]), Direction::Both).unwrap();
    // As an unmap leaves it whose flush failed.
    machine(|machine| {
        let context = machine.context(space.context());
        let gone = std::mem::take(&mut context.entries);
        context.stale.extend(gone);
    });
    assert!(leads_to(mapping.address(), 1));
    let address = mapping.address();
    mapping.unmap().unwrap();
    assert!(!leads_to(address, 1));
}

#[test]
fn calls_to_be_issued_again_go_on_where_they_were() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    for frames in [[50, 51, 52, 53, 54, 55], [50, 52, 54, 56, 58, 60]] {
        machine(|machine| machine.retries = 3);
        let mapping = device.map(pages(&frames), Direction::Both).unwrap();
        let expected: Vec<_> = (mapping.address() >> 12..).zip(frames).collect();
        assert_eq!(entries(), expected);
        machine(|machine| machine.retries = 3);
        mapping.unmap().unwrap();
        assert_eq!(entries(), []);
    }
    machine(|machine| machine.retries = u32::MAX);
    let long: Vec<_> = (0..5000).collect();
    let failed = device.map(pages(&long), Direction::Both).unwrap_err();
    assert_eq!(failed.cause.remedy(), Remedy::Repeat, "not for ever: {failed}");
}

#[test]
fn an_answer_that_cannot_be_believed_is_taken_back_as_a_whole() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    for (frames, lie) in [
        (&[50_u64, 51, 52][..], (Subop::MAP_PAGES, Garbage::Field)),
        (&[50, 51, 52], (Subop::MAP_PAGES, Garbage::Status)),
        (&[50, 52, 54], (Subop::BATCH, Garbage::Element)),
        (&[50, 52, 54], (Subop::BATCH, Garbage::Field)),
        (&[50, 52, 54], (Subop::BATCH, Garbage::Status)),
    ] {
        machine(|machine| machine.garbage = Some(lie));
        let failed = device.map(pages(frames), Direction::Both).unwrap_err();
        let DmaError::Map(MapError { cause: Error::BadReply(_), .. }) = failed.cause else {
            panic!("{failed}")
        };
        assert_eq!(entries(), [], "although it was mapped");
    }
}

#[test]
fn coherent_memory_is_aligned_to_its_size() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let _in_the_way = device.map(page(3), Direction::Both).unwrap();
    for (count, align) in [(1_u64, 1), (2, 2), (3, 4), (16, 16), (17, 32)] {
        let frames: Vec<_> = (100..100 + count).collect();
        let ring = device.coherent(pages(&frames)).unwrap();
        assert_eq!((ring.address() >> 12) % align, 0, "{count} pages");
        let before = flushes();
        ring.unmap().unwrap();
        assert_eq!(flushes() - before, 1);
    }
}

#[test]
fn a_leaked_mapping_stays() {
    let storage = Small::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let address = device.map(Memory::new(&[9]), Direction::Both).unwrap().leak();
    assert_eq!((entries(), alive()), (vec![(address >> 12, 9)], 1));
    device.detach().unwrap();
    assert_eq!(entries().len(), 1);
    let context = space.context();
    drop(space);
    assert!(!has_context(context), "until its context goes");
}

#[test]
fn a_context_that_there_was_stays() {
    let context = IommuClient::new(Call).alloc_context(AllocFlags::empty()).unwrap();
    let storage = Small::new();
    let space = DmaSpace::in_context(Call, context, &storage).unwrap();
    IommuClient::new(Call).reattach_device(DEVICE, context).unwrap();
    let device = space.attached(DEVICE, LOW).unwrap();
    drop(device.map(page(5), Direction::Both).unwrap());
    drop(device);
    space.close().unwrap();
    assert!(has_context(context));
    assert_eq!(context_of(DEVICE), context);
}
