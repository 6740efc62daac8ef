//! A driver of `virtio-drivers` through the mappings.
#![expect(unsafe_code, reason = "buffers are lent to the device for a while")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use pviommu_abi::{Bfn, Errno, Gfn, MapFlags};
use pviommu_guest::dma::DmaError;
use pviommu_guest::virtio::{AccessPlatform, NOWHERE, Platform as _};
use pviommu_guest::{BfnError, Error, MapError};
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::{BufferDirection, Hal as _};

use crate::disk::{Port, context};
use crate::fake::{Page, machine};
use crate::platform::{BUFFERS, Hal, Kernel, allocated, not_mapped, set_hole};

type Disk = VirtIOBlk<Hal, AccessPlatform<Port>>;

/// Bytes that do not cross from one page to the next.
#[repr(align(64))]
struct InOnePage([u8; 64]);

fn disk() -> (Port, Disk) {
    let port = Port::new();
    (port.clone(), VirtIOBlk::new(AccessPlatform::new(port)).unwrap())
}

fn mapped() -> usize {
    machine(|machine| context(machine).entries.len())
}

#[test]
fn requests_of_all_sizes_and_offsets_move_the_data() {
    let (port, mut disk) = disk();
    assert_eq!(
        (mapped(), allocated()),
        (2, 2),
        "the queue: what the driver writes, and the device"
    );
    let mut memory = vec![0_u8; 0x4000 + 512 * 64];
    for (turn, sectors) in (0..400_usize).map(|turn| (turn, 1 + turn * 13 % 64)) {
        let (first, offset) = (turn * 29 % 192, turn * 1237 % 0x4000);
        let buffer = &mut memory[offset..offset + sectors * 512];
        let place = first * 512..(first + sectors) * 512;
        if turn % 3 == 0 {
            buffer.fill(turn as u8);
            disk.write_blocks(first, buffer).unwrap();
        } else {
            buffer.fill(0xaa);
            disk.read_blocks(first, buffer).unwrap();
        }
        assert_eq!(buffer, &port.disk.borrow().contents[place], "request {turn}");
        assert_eq!(mapped(), 2, "nothing of the request stays mapped");
    }
    drop(disk);
    assert_eq!((mapped(), allocated()), (0, 0));
    assert_eq!(not_mapped(), None);
}

#[test]
fn a_device_has_no_more_access_than_its_direction_needs() {
    let buffer = [0_u8; 64];
    let pointer = NonNull::from(buffer.as_slice());
    for (direction, flags) in [
        (BufferDirection::DriverToDevice, MapFlags::READABLE),
        (BufferDirection::DeviceToDriver, MapFlags::WRITEABLE),
        (BufferDirection::Both, MapFlags::READABLE | MapFlags::WRITEABLE),
    ] {
        // SAFETY: a valid buffer that nobody else uses.
        let address = unsafe { Hal::share(pointer, direction) };
        let frame = Gfn::containing(u64::try_from(buffer.as_ptr().addr()).unwrap());
        machine(|machine| {
            let (bfn, entry) = context(machine).entries.first_key_value().unwrap();
            assert_eq!((entry.page, entry.access), (Page::Own(frame), flags));
            let offset = u64::try_from(buffer.as_ptr().addr() % 4096).unwrap();
            assert_eq!(address, bfn.address().unwrap() + offset);
        });
        // SAFETY: shared at this address, just before.
        unsafe { Hal::unshare(address, pointer, direction) };
        assert_eq!(mapped(), 0);
    }
}

#[test]
fn what_cannot_be_mapped_is_nowhere_and_the_driver_can_give_up() {
    let (port, mut disk) = disk();
    let mut buffer = vec![0_u8; 4096];
    let frame = Gfn::containing(u64::try_from(buffer.as_ptr().addr()).unwrap());
    machine(|machine| machine.bad_frame = Some((frame, Errno::ENOMEM)));
    let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
    // SAFETY: the buffers are not touched, and outlive the driver.
    let token = unsafe { disk.read_blocks_nb(0, &mut request, &mut buffer, &mut response) };
    token.unwrap();
    assert_eq!(disk.peek_used(), None, "the device got nowhere");
    assert!(port.disk.borrow().broken);
    let refused = MapError { done: 0, cause: Error::Exhausted(Errno::ENOMEM) };
    assert_eq!(not_mapped(), Some(DmaError::Map(refused)));

    let pointer = NonNull::from(buffer.as_mut_slice());
    // SAFETY: a valid buffer, which the device does not have.
    assert_eq!(unsafe { Hal::share(pointer, BufferDirection::Both) }, NOWHERE);
    // SAFETY: shared at this address, just before.
    unsafe { Hal::unshare(NOWHERE, pointer, BufferDirection::Both) };
    drop(disk);
    // What was given up stays the device's, until it was reset: the header and the status.
    assert_eq!((mapped(), allocated(), Kernel::dma().lent()), (2, 0, 2));
    Kernel::dma().take_all_back().unwrap();
    assert_eq!((mapped(), Kernel::dma().lent()), (0, 0));
    let _ = (request, response);
}

#[test]
fn a_buffer_with_a_page_that_no_frame_is_behind_is_nowhere() {
    let buffer = vec![0_u8; 3 * 4096];
    let pointer = NonNull::from(buffer.as_slice());
    let first = Gfn::containing(u64::try_from(buffer.as_ptr().addr()).unwrap());
    for page in 0..3 {
        set_hole(Some(Gfn(first.0 + page)));
        // SAFETY: a valid buffer, which the device does not have.
        assert_eq!(unsafe { Hal::share(pointer, BufferDirection::Both) }, NOWHERE);
        assert_eq!((not_mapped(), mapped()), (Some(DmaError::Buffer), 0));
    }
    set_hole(None);
    // SAFETY: a valid buffer that nobody else uses.
    let address = unsafe { Hal::share(pointer, BufferDirection::Both) };
    assert_ne!((address, mapped()), (NOWHERE, 0));
    // SAFETY: shared at this address, just before.
    unsafe { Hal::unshare(address, pointer, BufferDirection::Both) };
    assert_eq!((not_mapped(), mapped()), (None, 0));
}

#[test]
fn a_buffer_more_than_there_is_room_for_is_nowhere() {
    let buffers = [const { InOnePage([0; 64]) }; BUFFERS + 1];
    let pointers = buffers.each_ref().map(|buffer| NonNull::from(buffer.0.as_slice()));
    let share = |pointer| {
        // SAFETY: valid buffers that nobody else uses.
        unsafe { Hal::share(pointer, BufferDirection::DriverToDevice) }
    };
    let addresses = pointers.map(share);
    assert_eq!(addresses.iter().position(|address| *address == NOWHERE), Some(BUFFERS));
    assert_eq!(mapped(), BUFFERS, "the last one is taken back");
    let full = BfnError::TooManyRanges { capacity: BUFFERS };
    assert_eq!(not_mapped(), Some(DmaError::Bfns(full)));
    for (address, pointer) in addresses.into_iter().zip(pointers).rev() {
        // SAFETY: shared at this address, above.
        unsafe { Hal::unshare(address, pointer, BufferDirection::DriverToDevice) };
    }
    assert_eq!(mapped(), 0);
    assert_ne!(share(pointers[0]), NOWHERE, "there is room again");
}

#[test]
fn memory_for_queues_that_cannot_be_mapped_is_given_back() {
    machine(|machine| machine.aperture = (Bfn(1), Bfn(1)));
    let outcome = VirtIOBlk::<Hal, _>::new(AccessPlatform::new(Port::new()));
    assert_eq!(outcome.err(), Some(virtio_drivers::Error::DmaError));
    assert_eq!((mapped(), allocated()), (0, 0));
    assert!(matches!(not_mapped(), Some(DmaError::Bfns(_))));
}

#[test]
fn nothing_goes_on_while_a_device_may_reach_what_the_driver_has_back() {
    let (_port, mut disk) = disk();
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let mut buffer = [0_u8; 512];
    let outcome = catch_unwind(AssertUnwindSafe(|| disk.read_blocks(0, &mut buffer)));
    let cause = *outcome.unwrap_err().downcast::<DmaError>().unwrap();
    let failed = MapError { done: 0, cause: Error::Failed(Errno::EIO) };
    assert_eq!(cause, DmaError::StillMapped(failed));
    machine(|machine| machine.unmap_fails = None);
    let left = mapped();
    assert!(left >= 2 + 3, "the device still has the buffers");
    drop(disk);
    assert_eq!(mapped(), left - 2, "all but the queue");
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let outcome = Kernel::dma().take_all_back();
    assert_eq!((outcome, Kernel::dma().lent()), (Err(DmaError::StillMapped(failed)), 0));
    assert_eq!(mapped(), left - 2, "and keeps them");
}
