//! Bus frames that are not free to be mapped, and why.

use crate::{addr::BfnRange, platform::Access};

/// Most different ranges of one device, and of one context.
pub(crate) const MAX_RESERVED: usize = 32;

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
    /// A window in which software maps the doorbell of interrupts, and nothing else is mapped.
    SoftwareMsi,
    /// Forwarded by a bridge below the unit: DMA there reaches another device and not memory.
    BridgeWindow,
}

/// Bus frames that a guest may not map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// The frames.
    pub range: BfnRange,
    /// Why.
    pub kind: ReservedKind,
    /// What the device may do there, of a direct range.
    pub access: Access,
}

impl Reserved {
    /// True if a guest may not map them; false if it is only told.
    #[must_use]
    pub fn enforced(&self) -> bool {
        self.kind != ReservedKind::DirectRelaxable
    }
}
