//! A device that does DMA.

use core::mem;

use pviommu_abi::{Bfn, ContextId, DeviceFlags, DeviceHandle, PciDevice};

use super::access::{Access, Direction};
use super::buffer::{Buffer, bus_pages, first_offset};
use super::error::{DmaError, MapFailed};
use super::kernel::Kernel;
use super::mapping::Mapping;
use super::mode::{Deferred, Failed, Mode, Request, Strict};
use super::space::DmaSpace;
use crate::bfn::BfnRange;
use crate::error::Error;
use crate::extensions::{DeviceInfo, ReservedOf};

/// A device in a [`DmaSpace`]. When it goes away it is moved to the default context, if it was
/// [`attach`](DmaSpace::attach)ed, and nothing is kept for it; buffers it had are mapped until their
/// [`Mapping`]s go, and out of its reach.
#[derive(Debug)]
pub struct Device<'s, K: Kernel, M: Mode = Strict> {
    space: &'s DmaSpace<'s, K>,
    name: PciDevice,
    limit: Bfn,
    cache: bool,
    was_attached: bool,
    mode: M,
}

impl<K: Kernel> DmaSpace<'_, K> {
    /// Moves a device, and those that move with it, to this context. `mask` is the greatest byte
    /// address that it can put on the bus, such as 0xffff_ffff with 32 address bits.
    ///
    /// # Errors
    ///
    /// [`DmaError::Reserved`]; [`DmaError::Bfns`] if what the device reserves is in use;
    /// [`DmaError::OutOfReach`]; [`DmaError::Attach`], of which [`DmaError::remedy`] tells whether
    /// it may be attached to neither context.
    pub fn attach(&self, device: PciDevice, mask: u64) -> Result<Device<'_, K>, DmaError> {
        let limit = self.limit_of(mask)?;
        // Nothing must be mapped there when it comes.
        self.update_reserved(ReservedOf::Device(DeviceHandle::pci(device)))?;
        self.client().reattach_device(device, self.context()).map_err(DmaError::Attach)?;
        let attached = self.handle(device, limit, true);
        // Others may have moved with it.
        self.update_reserved(ReservedOf::Context(self.context()))?;
        Ok(attached)
    }

    /// A device that somebody else has attached to this context, and will move elsewhere.
    ///
    /// # Errors
    ///
    /// [`DmaError::Reserved`], [`DmaError::Bfns`], [`DmaError::OutOfReach`], as for
    /// [`attach`](Self::attach).
    pub fn attached(&self, device: PciDevice, mask: u64) -> Result<Device<'_, K>, DmaError> {
        let limit = self.limit_of(mask)?;
        self.update_reserved(ReservedOf::Context(self.context()))?;
        Ok(self.handle(device, limit, false))
    }

    fn handle(&self, name: PciDevice, limit: Bfn, was_attached: bool) -> Device<'_, K> {
        let mut device =
            Device { space: self, name, limit, cache: false, was_attached, mode: Strict };
        let is_coherent =
            device.isolation().is_ok_and(|info| info.state.contains(DeviceFlags::COHERENT));
        device.cache = self.has_cache() && is_coherent;
        device
    }
}

impl<'s, K: Kernel> Device<'s, K, Strict> {
    /// The same device with unmaps that are made later, many at a time. What that gives up is told
    /// at [`Deferred`]. Where the hypervisor has no batches they are made at once all the same.
    #[must_use]
    pub fn deferred(self) -> Device<'s, K, Deferred> {
        self.with_mode(Deferred)
    }

    pub(super) fn with_mode<M: Mode>(mut self, mode: M) -> Device<'s, K, M> {
        let was_attached = mem::take(&mut self.was_attached);
        let Self { space, name, limit, cache, .. } = self;
        Device { space, name, limit, cache, was_attached, mode }
    }
}

macro_rules! coherent {
    ($($Mode:ty => $Unmapped:ty),* $(,)?) => { $(
        impl<'s, K: Kernel> Device<'s, K, $Mode> {
            /// Maps memory that driver and device share for long, such as rings: in both directions,
            /// and aligned on the bus to its size rounded up to a power of two. It is unmapped
            /// strictly for a strict device, and for all others deferred.
            ///
            /// # Errors
            ///
            /// As for [`map`](Self::map).
            pub fn coherent<B: Buffer + 'static>(
                &self,
                buffer: B,
            ) -> Result<Mapping<'s, K, B, $Unmapped>, MapFailed<B>> {
                let (offset, buffer, range) = self.map_shared(buffer)?;
                Ok(Mapping::new(self.space, offset, buffer, range))
            }
        }
    )* };
}

coherent!(Strict => Strict, Deferred => Deferred);
#[cfg(feature = "alloc")]
coherent!(super::reuse::Reusing => Deferred);

impl<'s, K: Kernel, M: Mode> Device<'s, K, M> {
    /// The device.
    pub const fn name(&self) -> PciDevice {
        self.name
    }

    /// The space it does its DMA in.
    pub const fn space(&self) -> &'s DmaSpace<'s, K> {
        self.space
    }

    #[cfg(feature = "alloc")]
    pub(super) const fn mode(&self) -> &M {
        &self.mode
    }

    /// The last bus frame of which it can reach every byte.
    pub const fn limit(&self) -> Bfn {
        self.limit
    }

    /// How it is isolated from others: which move with it, which can act in its name, whether it can
    /// raise interrupts that it was not given, whether it was stopped. [`DeviceInfo::is_isolated`] sums
    /// it up.
    ///
    /// # Errors
    ///
    /// As for [`IommuClient::query_device`](crate::IommuClient::query_device); not available with
    /// RFC v7 alone.
    pub fn isolation(&self) -> Result<DeviceInfo, Error> {
        self.space.client().query_device(DeviceHandle::pci(self.name))
    }

    /// Maps a buffer as a whole: its pieces are at bus frames that follow each other, and reach no
    /// further than the device does. One hypercall, up to 128 runs of pages that follow each other
    /// or 508 pages.
    ///
    /// # Errors
    ///
    /// [`MapFailed`]: [`DmaError::Buffer`], [`DmaError::Bfns`], [`DmaError::Map`], and
    /// [`DmaError::StillMapped`] if a part could not be taken back.
    pub fn map<B: Buffer + 'static>(
        &self,
        buffer: B,
        direction: Direction,
    ) -> Result<Mapping<'s, K, B, M>, MapFailed<B>> {
        match self.mode.map(self.space, &buffer, self.request(direction)) {
            Ok(hold) => Ok(Mapping::new(self.space, first_offset(&buffer), buffer, hold)),
            Err(failed) => Err(failed.with(buffer)),
        }
    }

    /// Maps what driver and device share; tells the offset of its first byte in its page.
    pub(super) fn map_shared<B: Buffer>(
        &self,
        buffer: B,
    ) -> Result<(u64, B, BfnRange), MapFailed<B>> {
        let align =
            bus_pages(&buffer).and_then(|pages| u64::from(pages).checked_next_power_of_two());
        let request = Request { align, ..self.request(Direction::Both) };
        match self.space.map_buffer(&buffer, request) {
            Ok(range) => Ok((first_offset(&buffer), buffer, range)),
            Err(failed) => Err(failed.with(buffer)),
        }
    }

    /// Moves the device to the default context, if it was [`attach`](DmaSpace::attach)ed. Buffers that
    /// it has stay mapped in this context, for other devices in it, until their mappings go.
    ///
    /// # Errors
    ///
    /// [`DmaError::Attach`]; it may go on reaching what others map in this context.
    pub fn detach(mut self) -> Result<(), DmaError> {
        self.end().map_err(DmaError::Attach)
    }

    pub(super) fn request(&self, direction: Direction) -> Request {
        Request {
            limit: self.limit,
            access: Access::new(direction, self.cache),
            align: None,
            owner: None,
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.mode.end(self.space);
        if mem::take(&mut self.was_attached) {
            self.space.client().reattach_device(self.name, ContextId::DEFAULT)?;
        }
        Ok(())
    }
}

impl<K: Kernel, M: Mode> Drop for Device<'_, K, M> {
    fn drop(&mut self) {
        // `detach` tells errors.
        let _ = self.end();
    }
}

impl Failed {
    pub(super) fn with<B>(self, buffer: B) -> MapFailed<B> {
        let cause = self.cause;
        if self.is_reachable {
            mem::forget(buffer);
            return MapFailed { cause, buffer: None };
        }
        MapFailed { cause, buffer: Some(buffer) }
    }
}
