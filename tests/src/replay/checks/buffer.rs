//! A driver's buffer: its own bytes, however few, at the bus address that the driver was told.

use pviommu_hypervisor::platform::Access;

use super::{BYTES, Place, Probe};
use crate::replay::sample::Chance;
use crate::replay::summary::Summary;

/// Bytes that follow each other both on the bus and in the guest's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::replay) struct Stretch {
    /// The first byte, as the device addresses it.
    pub(in crate::replay) bus: u64,
    /// The first byte, guest physical.
    pub(in crate::replay) memory: u64,
    /// How many, at least one.
    pub(in crate::replay) length: u64,
}

impl Stretch {
    fn part(&self, offset: u64, bytes: usize) -> Place {
        Place { bus: self.bus + offset, memory: self.memory + offset, bytes }
    }
}

impl Probe<'_, '_> {
    /// The first and the last bytes of a buffer: data goes in the directions of `access`, and in no
    /// other.
    pub(in crate::replay) fn buffer(
        &self,
        stretch: &Stretch,
        access: Access,
        chance: &mut Chance,
        sum: &mut Summary,
    ) {
        let bytes = usize::try_from(stretch.length).unwrap_or(BYTES).min(BYTES);
        self.directions(stretch.part(0, bytes), access, chance, sum);
        if stretch.length > BYTES as u64 {
            let last = stretch.length - bytes as u64;
            self.directions(stretch.part(last, bytes), access, chance, sum);
        }
    }

    /// Some bytes of a buffer, in both ways.
    pub(in crate::replay) fn some_of_buffer(
        &self,
        stretch: &Stretch,
        access: Access,
        chance: &mut Chance,
        sum: &mut Summary,
    ) {
        let bytes = usize::try_from(stretch.length).unwrap_or(BYTES).min(BYTES);
        let offset = chance.below(stretch.length - bytes as u64 + 1);
        self.directions(stretch.part(offset, bytes), access, chance, sum);
    }
}
