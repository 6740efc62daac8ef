//! The feature that makes a device use bus addresses.

use pviommu_guest::virtio::AccessPlatform;
use virtio_drivers::Error;
use virtio_drivers::device::blk::VirtIOBlk;
use virtio_drivers::transport::DeviceStatus;

use crate::disk::{ACCESS_PLATFORM, Port};
use crate::platform::{Hal, allocated};

fn driver(port: &Port) -> Result<VirtIOBlk<Hal, AccessPlatform<Port>>, Error> {
    VirtIOBlk::new(AccessPlatform::new(port.clone()))
}

#[test]
fn a_device_that_offers_it_is_told_to_use_it() {
    let port = Port::new();
    let driver = driver(&port).unwrap();
    let disk = port.disk.borrow();
    assert_eq!(disk.accepted & ACCESS_PLATFORM, ACCESS_PLATFORM);
    assert!(disk.status.contains(DeviceStatus::FEATURES_OK | DeviceStatus::DRIVER_OK));
    assert_eq!(disk.queues, 1);
    drop(disk);
    drop(driver);
}

#[test]
fn a_device_that_does_not_offer_it_is_given_no_queue() {
    let port = Port::new();
    port.disk.borrow_mut().offered &= !ACCESS_PLATFORM;
    assert_eq!(driver(&port).err(), Some(Error::InvalidParam));
    let disk = port.disk.borrow();
    assert_eq!((disk.queues, allocated()), (0, 0));
    assert!(disk.status.contains(DeviceStatus::FAILED));
    assert!(!disk.status.contains(DeviceStatus::DRIVER_OK));
}

#[test]
fn a_device_that_does_not_take_the_features_is_given_no_queue() {
    let port = Port::new();
    port.disk.borrow_mut().takes &= !ACCESS_PLATFORM;
    assert_eq!(driver(&port).err(), Some(Error::InvalidParam));
    let disk = port.disk.borrow();
    assert_eq!(disk.queues, 0);
    assert!(disk.status.contains(DeviceStatus::FAILED));
}
