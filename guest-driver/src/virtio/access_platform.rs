//! The feature that makes a virtio device use bus addresses.
//!
//! VIRTIO_F_ACCESS_PLATFORM, bit 33 (Virtio 1.2, section 6). A device that offers it may refuse to
//! work for a driver that does not accept it (6.2), and one that does not offer it knows guest
//! addresses only: what this crate gives it would be other memory's. `virtio-drivers` neither accepts
//! it nor looks whether the device took the features. This must not talk to hypervisors, nor map.

#![forbid(unsafe_code)]

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// VIRTIO_F_ACCESS_PLATFORM.
const ACCESS_PLATFORM: u64 = 1 << 33;

/// A transport that accepts `ACCESS_PLATFORM`, and leads to a device without queues if that is not
/// offered, or if the device does not take the features. So a driver's constructor fails with
/// `InvalidParam` instead of having the device use addresses that are not meant.
#[derive(Debug)]
pub struct AccessPlatform<T> {
    inner: T,
    /// The device was offered the feature, and took it.
    taken: bool,
}

impl<T: Transport> AccessPlatform<T> {
    /// Wraps a transport whose device is not set up yet.
    pub const fn new(inner: T) -> Self {
        Self { inner, taken: false }
    }

    fn give_up(&mut self) {
        let status = self.inner.get_status() | DeviceStatus::FAILED;
        self.inner.set_status(status);
    }
}

impl<T: Transport> Transport for AccessPlatform<T> {
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.inner.write_driver_features(driver_features | ACCESS_PLATFORM);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        if self.taken { self.inner.max_queue_size(queue) } else { 0 }
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let negotiated = status.contains(DeviceStatus::FEATURES_OK);
        if status.contains(DeviceStatus::DRIVER_OK) {
            // Set up, or not usable.
        } else if negotiated {
            // A device could take a feature that it did not offer.
            self.taken = self.inner.read_device_features() & ACCESS_PLATFORM != 0;
        } else {
            self.taken = false;
        }
        if negotiated && !self.taken {
            self.give_up();
            return;
        }
        self.inner.set_status(status);
        // Virtio 1.2, 3.1.1, step 6: whether it took them, it says here.
        if negotiated && !self.inner.get_status().contains(DeviceStatus::FEATURES_OK) {
            self.taken = false;
            self.give_up();
        }
    }

    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        self.inner.set_guest_page_size(guest_page_size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        if self.taken {
            self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
        }
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
