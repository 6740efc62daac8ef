//! Where a device is, and whose.

use pviommu_abi::DomId;

use crate::domain::Slot;

/// Where a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceState {
    pub(crate) owner: Option<DomId>,
    pub(crate) home: Home,
    /// It could not be put where it belongs: nobody gets it any more.
    pub(crate) broken: bool,
    /// How often it changed hands.
    pub(crate) tenure: u32,
    /// By which gift it came to its owner: what was given together is taken away together.
    pub(crate) gift: Ticket,
    /// It was given without the rest of its group.
    pub(crate) alone: bool,
    /// What it is kept for meanwhile, if anything: nobody else gets it.
    pub(crate) held: Option<Ticket>,
    /// Its group changed while somebody had of it: given to nobody until that is approved.
    pub(crate) tainted: bool,
}

/// A number for each gift, and for each change of groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// The one after this.
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl DeviceState {
    /// Nobody's, and blocked.
    pub(super) fn new() -> Self {
        Self {
            owner: None,
            home: Home::Blocked,
            broken: false,
            tenure: 0,
            gift: Ticket::default(),
            alone: false,
            held: None,
            tainted: false,
        }
    }

    /// True if `owner` has it by this gift.
    pub(super) fn is_of(&self, owner: DomId, gift: Ticket) -> bool {
        self.owner == Some(owner) && self.gift == gift
    }
}

/// What a device entry names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// Nothing: all DMA is refused.
    Blocked,
    /// The device's own table.
    Quarantine,
    /// A context of its owner.
    In(Slot),
}
