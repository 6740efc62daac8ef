//! A driver of `virtio-drivers` through the mappings.
#![expect(unsafe_code, reason = "buffers are lent to the device for a while")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use pviommu_abi::{Errno, Gfn, MapFlags};
use pviommu_guest::virtio::{AccessPlatform, NOWHERE};
use pviommu_guest::{Error, MapError, SpaceError};
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::{BufferDirection, Hal as _};

use crate::disk::Port;
use crate::machine::machine;
use crate::platform::{Hal, allocated, not_mapped};

type Disk = VirtIOBlk<Hal, AccessPlatform<Port>>;

fn disk() -> (Port, Disk) {
    let port = Port::new();
    (port.clone(), VirtIOBlk::new(AccessPlatform::new(port)).unwrap())
}

fn mapped() -> usize {
    machine(|machine| machine.entries.len())
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
            let (bfn, (gfn, granted)) = machine.entries.first_key_value().unwrap();
            assert_eq!((*gfn, *granted), (frame, flags));
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
    assert_eq!(not_mapped(), Some(SpaceError::Map(refused)));

    let pointer = NonNull::from(buffer.as_mut_slice());
    // SAFETY: a valid buffer, which the device does not have.
    assert_eq!(unsafe { Hal::share(pointer, BufferDirection::Both) }, NOWHERE);
    // SAFETY: shared at this address, just before.
    unsafe { Hal::unshare(NOWHERE, pointer, BufferDirection::Both) };
    drop(disk);
    // What was given up stays the device's: the header and the status.
    assert_eq!((mapped(), allocated()), (2, 0));
    let _ = (request, response);
}

#[test]
fn memory_for_queues_that_cannot_be_mapped_is_given_back() {
    machine(|machine| machine.aperture = Some((pviommu_abi::Bfn(1), pviommu_abi::Bfn(1))));
    let outcome = VirtIOBlk::<Hal, _>::new(AccessPlatform::new(Port::new()));
    assert_eq!(outcome.err(), Some(virtio_drivers::Error::DmaError));
    assert_eq!((mapped(), allocated()), (0, 0));
    assert!(matches!(not_mapped(), Some(SpaceError::Bfns(_))));
}

#[test]
fn nothing_goes_on_while_a_device_may_reach_what_the_driver_has_back() {
    let (_port, mut disk) = disk();
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let mut buffer = [0_u8; 512];
    let outcome = catch_unwind(AssertUnwindSafe(|| disk.read_blocks(0, &mut buffer)));
    let cause = *outcome.unwrap_err().downcast::<MapError>().unwrap();
    assert_eq!(cause, MapError { done: 0, cause: Error::Failed(Errno::EIO) });
    machine(|machine| machine.unmap_fails = None);
    assert!(mapped() >= 2 + 3, "the device still has the buffers");
    drop(disk);
}
