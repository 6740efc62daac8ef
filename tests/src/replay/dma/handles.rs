//! Devices and mappings of the driver's API, whatever their mode.

use std::num::NonZeroUsize;

use pviommu_abi::DomId;
use pviommu_guest::dma::{
    Deferred, Device, Direction, DmaError, Kept, Kernel, MapFailed, Mapping, Pending, Reusing,
    Segment, Strict,
};

use super::buffer::Memory;

/// When a device's buffers are unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// At once.
    Strict,
    /// Later, many at a time.
    Deferred,
    /// When so many others are kept.
    Reusing(NonZeroUsize),
}

/// A device of a space.
pub(super) enum Attached<'s, K: Kernel> {
    Strict(Device<'s, K, Strict>),
    Deferred(Device<'s, K, Deferred>),
    Reusing(Device<'s, K, Reusing>),
}

/// What is mapped for a device.
pub(super) enum Held<'d, K: Kernel> {
    Strict(Mapping<'d, K, Memory, Strict>),
    Deferred(Mapping<'d, K, Memory, Deferred>),
    Reusing(Mapping<'d, K, Memory, Reusing>),
}

/// A buffer that was unmapped.
pub(super) enum Left<'d, K: Kernel> {
    /// Nothing reaches it.
    Safe(Memory),
    /// It is not to be had yet.
    Waits(Pending<'d, K, Memory>),
    /// The device may reach it for as long as its mapping is kept.
    Exposed(Memory),
}

impl<'s, K: Kernel> Attached<'s, K> {
    pub(super) fn new(device: Device<'s, K, Strict>, when: When) -> Self {
        match when {
            When::Strict => Self::Strict(device),
            When::Deferred => Self::Deferred(device.deferred()),
            When::Reusing(kept) => Self::Reusing(device.reusing(kept)),
        }
    }

    pub(super) fn map(
        &self,
        memory: Memory,
        direction: Direction,
    ) -> Result<Held<'_, K>, MapFailed<Memory>> {
        match self {
            Self::Strict(device) => device.map(memory, direction).map(Held::Strict),
            Self::Deferred(device) => device.map(memory, direction).map(Held::Deferred),
            Self::Reusing(device) => device.map(memory, direction).map(Held::Reusing),
        }
    }

    pub(super) fn coherent(&self, memory: Memory) -> Result<Held<'_, K>, MapFailed<Memory>> {
        match self {
            Self::Strict(device) => device.coherent(memory).map(Held::Strict),
            Self::Deferred(device) => device.coherent(memory).map(Held::Deferred),
            Self::Reusing(device) => device.coherent(memory).map(Held::Deferred),
        }
    }

    pub(super) fn map_foreign(
        &self,
        owner: DomId,
        memory: Memory,
        direction: Direction,
    ) -> Result<Mapping<'_, K, Memory>, MapFailed<Memory>> {
        match self {
            Self::Strict(device) => device.map_foreign(owner, memory, direction),
            Self::Deferred(device) => device.map_foreign(owner, memory, direction),
            Self::Reusing(device) => device.map_foreign(owner, memory, direction),
        }
    }

    pub(super) fn map_grants(
        &self,
        owner: DomId,
        grants: Vec<u64>,
        direction: Direction,
    ) -> Result<Mapping<'_, K, Vec<u64>>, MapFailed<Vec<u64>>> {
        match self {
            Self::Strict(device) => device.map_grants(owner, grants, direction),
            Self::Deferred(device) => device.map_grants(owner, grants, direction),
            Self::Reusing(device) => device.map_grants(owner, grants, direction),
        }
    }

    /// How many maps the API has found among those it kept.
    pub(super) fn hits(&self) -> u64 {
        match self {
            Self::Reusing(device) => device.hits(),
            Self::Strict(_) | Self::Deferred(_) => 0,
        }
    }
}

impl<'d, K: Kernel> Held<'d, K> {
    pub(super) fn memory(&self) -> &Memory {
        match self {
            Self::Strict(mapping) => mapping.buffer(),
            Self::Deferred(mapping) => mapping.buffer(),
            Self::Reusing(mapping) => mapping.buffer(),
        }
    }

    /// The bus address of the first byte.
    pub(super) fn address(&self) -> u64 {
        match self {
            Self::Strict(mapping) => mapping.address(),
            Self::Deferred(mapping) => mapping.address(),
            Self::Reusing(mapping) => mapping.address(),
        }
    }

    pub(super) fn segments(&self) -> Vec<Segment> {
        match self {
            Self::Strict(mapping) => mapping.segments().collect(),
            Self::Deferred(mapping) => mapping.segments().collect(),
            Self::Reusing(mapping) => mapping.segments().collect(),
        }
    }

    /// Unmaps it as its mode does.
    pub(super) fn unmap(self) -> Result<Left<'d, K>, DmaError> {
        match self {
            Self::Strict(mapping) => mapping.unmap().map(Left::Safe).map_err(|still| still.cause),
            Self::Deferred(mapping) => {
                mapping.unmap().map(Left::Waits).map_err(|still| still.cause)
            }
            Self::Reusing(mapping) => Ok(Left::Exposed(Kept::accept_exposure(mapping.unmap()))),
        }
    }

    /// Leaves it to the device.
    pub(super) fn leak(self) {
        let _ = match self {
            Self::Strict(mapping) => mapping.leak(),
            Self::Deferred(mapping) => mapping.leak(),
            Self::Reusing(mapping) => mapping.leak(),
        };
    }
}
