//! What the service knows about one function that can do DMA.

use pviommu_abi::{ContextId, DomId, PciDevice};

use crate::{
    addr::BfnRange,
    platform::{SourceId, UnitId},
    sync::Mutex,
};

/// Why bus frames are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReservedKind {
    /// The device or its firmware uses them all the time (RMRR, IVMD).
    Direct,
    /// The same until a driver takes over: told to the guest, not enforced.
    DirectRelaxable,
    /// Not usable for DMA.
    Reserved,
    /// Writes there are interrupts.
    Msi,
}

/// Bus frames that a guest may not map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// The frames.
    pub range: BfnRange,
    /// Why.
    pub kind: ReservedKind,
}

impl Reserved {
    /// True if a guest may not map them; false if it is only told.
    #[must_use]
    pub fn enforced(&self) -> bool {
        self.kind != ReservedKind::DirectRelaxable
    }
}

/// One PCI function behind an IOMMU, in memory lent by the embedder.
#[derive(Debug)]
pub struct Device<'a> {
    function: PciDevice,
    unit: UnitId,
    reserved: &'a [Reserved],
    pub(crate) state: Mutex<DeviceState>,
}

/// Where a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceState {
    pub(crate) owner: Option<DomId>,
    pub(crate) context: ContextId,
    /// It could not be put where it belongs: nobody gets it any more.
    pub(crate) broken: bool,
}

impl<'a> Device<'a> {
    /// The function behind `unit`, owned by nobody. `reserved` is what its DMA needs or must not
    /// touch.
    #[must_use]
    pub fn new(function: PciDevice, unit: UnitId, reserved: &'a [Reserved]) -> Self {
        let state = DeviceState { owner: None, context: ContextId::DEFAULT, broken: false };
        Self { function, unit, reserved, state: Mutex::new(state) }
    }

    /// The function.
    #[must_use]
    pub fn function(&self) -> PciDevice {
        self.function
    }

    /// The unit its DMA goes through.
    #[must_use]
    pub fn unit(&self) -> UnitId {
        self.unit
    }

    /// The id its requests carry.
    #[must_use]
    pub fn source(&self) -> SourceId {
        SourceId(self.function)
    }

    /// Its own reserved ranges.
    #[must_use]
    pub fn reserved(&self) -> &'a [Reserved] {
        self.reserved
    }
}
