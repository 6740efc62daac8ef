//! The default context: which map a domain starts with, and who maintains it.

use pviommu_abi::Errno;

use crate::{
    addr::{GfnRange, Mfn},
    platform::Access,
    sync::{AtomicU32, Ordering},
};

/// The map that a domain's devices start with.
///
/// *Identity* maps are **maintained**: the hypervisor keeps them in step with the P2M, by
/// [`Iommu::p2m_changed`](crate::Iommu::p2m_changed), and the guest never edits them. *Host* and
/// *guest* maps are **initialised** and then left alone; the guest may take them over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DefaultMap {
    /// No DMA, until the guest takes the default context over.
    #[default]
    Blocked,
    /// BFN == MFN for what the hardware domain may reach
    /// ([`PageOwnership::initial_map`](crate::platform::PageOwnership::initial_map)), initialised.
    /// Holds no references: it trusts that domain with all it maps.
    Host,
    /// BFN == GFN for the guest's frames, initialised; each page is pinned.
    Guest,
    /// BFN == MFN for the domain's own frames, maintained.
    IdentityMfn,
    /// BFN == GFN for the domain's frames, maintained.
    IdentityGfn,
}

impl DefaultMap {
    /// True if the hypervisor maintains it (today's Xen: `need_iommu_pt_sync`).
    #[must_use]
    pub fn need_iommu(self) -> bool {
        matches!(self, Self::IdentityMfn | Self::IdentityGfn)
    }
}

/// What backs guest frames: the domain's own pages, others' that are mapped there, or registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backing {
    /// The frame of the first; the others follow on.
    pub first: Mfn,
    /// What devices may do there; empty: nothing, they are not mapped.
    pub access: Access,
    /// True for registers of devices.
    pub mmio: bool,
}

/// A change of a domain's P2M: other frames, another access, or nothing, for guest frames that
/// follow each other. Holds how far it was carried over to the default context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct P2mChange {
    pub(crate) gfns: GfnRange,
    pub(crate) old: Option<Mfn>,
    pub(crate) new: Option<Backing>,
    /// Pages done: first those that are taken out, then those that are put in.
    pub(crate) done: u64,
    /// Why some of the new frames were not mapped.
    pub(crate) error: Option<Errno>,
}

impl P2mChange {
    /// `gfns` were backed by `old` and the frames that follow, or by nothing, and are backed by `new`
    /// now.
    #[must_use]
    pub fn new(gfns: GfnRange, old: Option<Mfn>, new: Option<Backing>) -> Self {
        Self { gfns, old, new, done: 0, error: None }
    }
}

/// What a switch of the default context that is under way makes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Switch {
    /// Its devices go to a new table, which is the hypervisor's.
    ToInitial,
    /// Its devices go to a new table, which is the guest's.
    ToGuest,
    /// Its devices are blocked.
    ToBlocked,
    /// A device could not be moved: those that were go back to the old table.
    Back,
}

/// Who has the default context. Written under the domain's administration lock.
#[derive(Debug)]
pub(crate) struct DefaultState {
    map: AtomicU32,
    set: AtomicU32,
    owned: AtomicU32,
    spare_active: AtomicU32,
    switching: AtomicU32,
    failure: AtomicU32,
}

const MAPS: [DefaultMap; 5] = [
    DefaultMap::Blocked,
    DefaultMap::Host,
    DefaultMap::Guest,
    DefaultMap::IdentityMfn,
    DefaultMap::IdentityGfn,
];
const SWITCHES: [Switch; 4] = [Switch::ToInitial, Switch::ToGuest, Switch::ToBlocked, Switch::Back];

impl DefaultState {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU32::new(0);
        Self {
            map: zero(),
            set: zero(),
            owned: zero(),
            spare_active: zero(),
            switching: zero(),
            failure: zero(),
        }
    }

    /// The map the domain starts with.
    pub(crate) fn map(&self) -> DefaultMap {
        let code = usize::try_from(self.map.load(Ordering::Acquire)).unwrap_or(0);
        MAPS.get(code).copied().unwrap_or_default()
    }

    /// True once the embedder chose it.
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire) != 0
    }

    /// Chooses it, for good once `set`.
    pub(crate) fn set_map(&self, map: DefaultMap, set: bool) {
        let code = MAPS.iter().zip(0..=u32::MAX).find(|(of, _)| **of == map);
        self.map.store(code.map_or(0, |(_, code)| code), Ordering::Release);
        self.set.store(u32::from(set), Ordering::Release);
    }

    /// True while the guest may edit it.
    pub(crate) fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Acquire) != 0
    }

    pub(crate) fn set_owned(&self, owned: bool) {
        self.owned.store(u32::from(owned), Ordering::Release);
    }

    /// True if the spare context is the default one, and the first of those lent is spare.
    pub(crate) fn is_spare_active(&self) -> bool {
        self.spare_active.load(Ordering::Acquire) != 0
    }

    /// Has the two contexts change places.
    pub(crate) fn flip(&self) {
        self.spare_active.store(u32::from(!self.is_spare_active()), Ordering::Release);
    }

    pub(crate) fn switching(&self) -> Option<Switch> {
        let code = usize::try_from(self.switching.load(Ordering::Acquire)).unwrap_or(0);
        SWITCHES.get(code.checked_sub(1)?).copied()
    }

    pub(crate) fn set_switching(&self, switch: Option<Switch>) {
        let code = SWITCHES.iter().zip(1..=u32::MAX).find(|(of, _)| Some(**of) == switch);
        self.switching.store(code.map_or(0, |(_, code)| code), Ordering::Release);
    }

    /// Notes why a switch failed, to be told when what it left is gone.
    pub(crate) fn set_failure(&self, errno: Errno) {
        let code = u32::try_from(errno.to_ret().unsigned_abs()).unwrap_or(0);
        self.failure.store(code, Ordering::Release);
    }

    pub(crate) fn take_failure(&self) -> Option<Errno> {
        let code = i64::from(self.failure.swap(0, Ordering::AcqRel));
        Errno::from_ret(code.wrapping_neg())
    }
}
