//! A virtio disk whose every access goes through the mappings (Virtio 1.2, 2.7 and 5.2).
#![expect(unsafe_code, reason = "a device writes where the mappings say")]

use std::cell::RefCell;
use std::ptr::{copy_nonoverlapping, with_exposed_provenance, with_exposed_provenance_mut};
use std::rc::Rc;

use pviommu_abi::{Bfn, MapFlags};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::fake::tables::{Context, Entry};
use crate::fake::{DEVICE, Machine, Page, machine};

pub(crate) const ACCESS_PLATFORM: u64 = 1 << 33;
const VERSION_1: u64 = 1 << 32;
const SECTORS: u64 = 256;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// What outlives the driver.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) contents: Vec<u8>,
    pub(crate) offered: u64,
    /// The features that it takes.
    pub(crate) takes: u64,
    pub(crate) accepted: u64,
    pub(crate) status: DeviceStatus,
    pub(crate) queues: u32,
    /// An access was refused; it does not answer any longer.
    pub(crate) broken: bool,
}

/// The driver's side of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) disk: Rc<RefCell<Disk>>,
    /// Descriptors, driver area, device area; and how far it got.
    queue: (u64, u64, u64),
    seen: u16,
}

/// A request was refused by the mappings.
struct Refused;

/// The context that the disk is attached to.
pub(crate) fn context(machine: &mut Machine) -> &mut Context {
    let disk = machine.devices.iter().find(|device| device.name == DEVICE).unwrap();
    let id = disk.context;
    machine.context(id)
}

fn reach(
    address: u64,
    length: usize,
    access: MapFlags,
    mut run: impl FnMut(usize, usize, usize),
) -> std::result::Result<(), Refused> {
    let mut done = 0;
    while done < length {
        let at = address + u64::try_from(done).unwrap();
        let within = usize::try_from(at % 4096).unwrap();
        let size = (4096 - within).min(length - done);
        let entry = machine(|machine| context(machine).reach(Bfn::containing(at)));
        let entry = entry.filter(|entry| entry.access.contains(access)).ok_or(Refused)?;
        let Entry { page: Page::Own(gfn), .. } = entry else { return Err(Refused) };
        run(usize::try_from(gfn.address().unwrap()).unwrap() + within, done, size);
        done += size;
    }
    Ok(())
}

fn read(address: u64, to: &mut [u8]) -> std::result::Result<(), Refused> {
    reach(address, to.len(), MapFlags::READABLE, |from, at, size| {
        // SAFETY: mapped, so the driver has lent these bytes to the device.
        unsafe { copy_nonoverlapping(with_exposed_provenance(from), to[at..].as_mut_ptr(), size) };
    })
}

fn write(address: u64, from: &[u8]) -> std::result::Result<(), Refused> {
    reach(address, from.len(), MapFlags::WRITEABLE, |to, at, size| {
        // SAFETY: mapped for writing, so the driver has lent these bytes to the device.
        unsafe { copy_nonoverlapping(from[at..].as_ptr(), with_exposed_provenance_mut(to), size) };
    })
}

fn read_as<T: FromBytes + IntoBytes>(address: u64) -> std::result::Result<T, Refused> {
    let mut value = T::new_zeroed();
    read(address, value.as_mut_bytes())?;
    Ok(value)
}

#[derive(Clone, Copy, FromBytes, IntoBytes)]
#[repr(C)]
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

impl Port {
    pub(crate) fn new() -> Self {
        let contents = (0..SECTORS * 512).map(|at| (at / 512 * 7 + at % 251) as u8).collect();
        let offered = VERSION_1 | ACCESS_PLATFORM;
        let disk = Disk {
            contents,
            offered,
            takes: offered,
            accepted: 0,
            status: DeviceStatus::empty(),
            queues: 0,
            broken: false,
        };
        Self { disk: Rc::new(RefCell::new(disk)), queue: (0, 0, 0), seen: 0 }
    }

    /// Serves what is in the queue.
    fn serve(&mut self) -> std::result::Result<(), Refused> {
        let (descriptors, driver, device) = self.queue;
        while self.seen != read_as::<u16>(driver + 2)? {
            let slot = u64::from(self.seen % 16);
            let head: u16 = read_as(driver + 4 + slot * 2)?;
            let mut chain = vec![];
            let mut next = Some(head);
            while let Some(index) = next {
                let found: Descriptor = read_as(descriptors + u64::from(index) * 16)?;
                next = (found.flags & NEXT != 0).then_some(found.next);
                chain.push(found);
            }
            let written = self.request(&chain)?;
            let used = [u32::from(head), written];
            write(device + 4 + slot * 8, used.as_bytes())?;
            self.seen = self.seen.wrapping_add(1);
            write(device + 2, self.seen.as_bytes())?;
        }
        Ok(())
    }

    /// Header, data, status.
    fn request(&self, chain: &[Descriptor]) -> std::result::Result<u32, Refused> {
        let [header, data, status] = *chain else { panic!("{} descriptors", chain.len()) };
        let [kind, _, sector, _] = read_as::<[u32; 4]>(header.address)?;
        let start = usize::try_from(sector).unwrap() * 512;
        let length = usize::try_from(data.length).unwrap();
        let disk = &mut *self.disk.borrow_mut();
        let bytes = &mut disk.contents[start..start + length];
        assert_eq!(data.flags & WRITE != 0, kind == 0);
        if kind == 0 {
            write(data.address, bytes)?
        } else {
            read(data.address, bytes)?
        }
        write(status.address, &[0])?;
        Ok(1 + if kind == 0 { data.length } else { 0 })
    }
}

impl Transport for Port {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        self.disk.borrow().offered
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.disk.borrow_mut().accepted = driver_features;
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        16
    }

    fn notify(&mut self, _: u16) {
        if !self.disk.borrow().broken && self.serve().is_err() {
            self.disk.borrow_mut().broken = true;
        }
    }

    fn get_status(&self) -> DeviceStatus {
        self.disk.borrow().status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let disk = &mut *self.disk.borrow_mut();
        disk.status = status;
        if disk.accepted & !disk.takes != 0 {
            disk.status.remove(DeviceStatus::FEATURES_OK);
        }
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        _: u16,
        size: u32,
        table: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        assert_eq!(size, 16);
        self.queue = (table, driver, device);
        self.disk.borrow_mut().queues += 1;
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let config = SECTORS.to_le_bytes();
        let bytes = config.get(offset..).ok_or(Error::ConfigSpaceTooSmall)?;
        T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| Error::ConfigSpaceTooSmall)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        Err(Error::Unsupported)
    }
}
