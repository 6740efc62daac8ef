//! A buffer that a device has.

use core::{fmt, mem};

use super::buffer::{Buffer, Segment, segments};
use super::deferred::Pending;
use super::error::StillMapped;
use super::kernel::Kernel;
use super::mode::{Deferred, Hold, Mode, Strict};
use super::space::DmaSpace;
use crate::bfn::BfnRange;

/// A buffer that is mapped for a device. Nobody else has it as long as this lives, and dropping it
/// unmaps and flushes at once, in every mode.
///
/// If that fails when it is dropped, the buffer is forgotten and its bus frames stay taken: what a
/// device may reach is never used for anything else.
#[must_use = "dropping it takes the buffer away from the device"]
pub struct Mapping<'d, K: Kernel, B, M: Mode = Strict> {
    space: &'d DmaSpace<'d, K>,
    /// The bus address of its first byte.
    address: u64,
    /// Gone once it is unmapped.
    held: Option<(B, M::Hold)>,
}

impl<'d, K: Kernel, B, M: Mode> Mapping<'d, K, B, M> {
    pub(super) fn new(space: &'d DmaSpace<'d, K>, offset: u64, buffer: B, hold: M::Hold) -> Self {
        // A bus frame of an aperture has an address.
        let address = hold.first().address().unwrap_or(u64::MAX).saturating_add(offset);
        Self { space, address, held: Some((buffer, hold)) }
    }

    /// The bus address of the first byte.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// The buffer, which the device can reach at this moment.
    pub fn buffer(&self) -> &B {
        match &self.held {
            Some((buffer, _)) => buffer,
            None => unreachable!("a mapping has its buffer until it is consumed"),
        }
    }

    /// What the device is told: where the bytes of the buffer are on the bus, in its order. Pieces
    /// that begin and end at page boundaries are one.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + Clone + '_
    where
        B: Buffer,
    {
        let held = self.held.iter();
        held.flat_map(|(buffer, hold)| segments(buffer, hold.first(), hold.pages()))
    }

    /// Leaves the buffer to the device for good: neither is it ever unmapped, nor is it dropped.
    /// Returns its bus address.
    pub fn leak(mut self) -> u64 {
        mem::forget(self.held.take());
        self.address
    }

    /// Unmaps and flushes, whatever the mode is.
    pub(super) fn unmap_now(mut self) -> Result<B, StillMapped<Self>> {
        let (buffer, hold) = self.take();
        match M::unmap(self.space, hold) {
            Ok(()) => Ok(buffer),
            Err((hold, cause)) => {
                self.held = Some((buffer, hold));
                Err(StillMapped { cause, mapping: self })
            }
        }
    }

    #[cfg(feature = "alloc")]
    pub(super) const fn space(&self) -> &'d DmaSpace<'d, K> {
        self.space
    }

    pub(super) fn take(&mut self) -> (B, M::Hold) {
        match self.held.take() {
            Some(held) => held,
            None => unreachable!("a mapping has its buffer until it is consumed"),
        }
    }

    pub(super) fn put_back(mut self, buffer: B, hold: M::Hold) -> Self {
        self.held = Some((buffer, hold));
        self
    }
}

impl<K: Kernel, B> Mapping<'_, K, B, Strict> {
    /// Unmaps it. The buffer that comes back is out of every device's reach, and can be used for
    /// anything.
    ///
    /// # Errors
    ///
    /// [`StillMapped`], with the mapping to try again.
    pub fn unmap(self) -> Result<B, StillMapped<Self>> {
        self.unmap_now()
    }
}

impl<'d, K: Kernel, B> Mapping<'d, K, B, Deferred> {
    /// Has it unmapped with others, later. The buffer is not to be had before.
    ///
    /// # Errors
    ///
    /// [`StillMapped`] if too many wait and they cannot be unmapped, nor this.
    pub fn unmap(mut self) -> Result<Pending<'d, K, B>, StillMapped<Self>> {
        let (buffer, range) = self.take();
        let range: BfnRange = range;
        match self.space.unmap_later(range) {
            Ok(ticket) => Ok(Pending::new(self.space, ticket, buffer)),
            Err((range, cause)) => {
                Err(StillMapped { cause, mapping: self.put_back(buffer, range) })
            }
        }
    }
}

impl<'d, K: Kernel, B, M: Mode> Drop for Mapping<'d, K, B, M> {
    fn drop(&mut self) {
        let Some((buffer, hold)) = self.held.take() else { return };
        match M::unmap(self.space, hold) {
            Ok(()) => drop(buffer),
            Err((hold, _)) => {
                self.space.lose(hold.pages());
                mem::forget(buffer);
            }
        }
    }
}

impl<'d, K: Kernel, B, M: Mode> fmt::Debug for Mapping<'d, K, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hold = self.held.as_ref().map(|(_, hold)| hold);
        f.debug_struct("Mapping").field("address", &self.address).field("hold", &hold).finish()
    }
}
