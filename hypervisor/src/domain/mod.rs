//! What the service keeps for one domain: its contexts and its share of everything.

mod aside;
mod default;
mod limits;
mod pinned;
mod slots;
mod stats;

pub(crate) use aside::PutAside;
pub use default::{Backing, DefaultMap, P2mChange};
pub(crate) use default::{DefaultState, Switch};
pub(crate) use limits::Quota;
pub use limits::{Limits, UnknownFlags};
pub(crate) use pinned::{Drawer, Pinned};
pub(crate) use slots::Slot;
use stats::Counters;
pub use stats::DomainStats;

use pviommu_abi::DomId;

use crate::{
    context::Context,
    sync::{AtomicU32, Mutex, MutexGuard, Ordering},
};

/// What a domain is to the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// An ordinary guest: hostile.
    Guest,
    /// The domain that drives the machine (Xen: the hardware domain, dom0), which may also act
    /// for others.
    Hardware,
}

/// What a bus frame that nobody mapped hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Background {
    /// The unit refuses the access and records a fault.
    Fault,
    /// A page of the context's own, so that a mis-programmed device causes no fault.
    #[default]
    Scratch,
}

bitflags::bitflags! {
    /// What an embedder allows a domain although it is a risk.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OptIns: u32 {
        /// A device whose firmware needs memory of its own (RMRR, IVMD) for an ordinary guest: that
        /// firmware may serve the machine, and may be told by the guest to do DMA.
        const DIRECT_RANGES = 1 << 0;
        /// A device that can raise interrupts that it was not given, for an ordinary guest.
        const UNSAFE_INTERRUPTS = 1 << 1;
        /// A device without the rest of its group, and while other domains have the rest: who administers
        /// the domain is trusted. Those others need the same, or the devices do
        /// ([`Risks::SPLIT_GROUP`](crate::Risks::SPLIT_GROUP)).
        const SPLIT_GROUPS = 1 << 2;
        /// A device of whose group a function is behind no unit, for an ordinary guest: that function does DMA
        /// everywhere, and the guest may reach its registers.
        const UNTRANSLATED_NEIGHBOURS = 1 << 3;
    }
}

/// How a domain may place devices of one group that do not share a requester id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GroupRule {
    /// Each in the context that it wants, although they may reach each other past the IOMMU. So do
    /// drivers that attach one function after the other.
    #[default]
    EachAlone,
    /// All in one context: who moves one moves all that the domain has.
    TogetherOnly,
}

/// The IOMMU state of a domain. The embedder keeps it in its own record of the domain.
#[derive(Debug)]
pub struct DomainIommu<'a> {
    id: DomId,
    role: Role,
    limits: Limits,
    background: Background,
    opt_ins: OptIns,
    group_rule: GroupRule,
    contexts: &'a [Context],
    /// Takes the place of the first of `contexts`, and the other way round, when the default context
    /// gets another table.
    spare: Context,
    pub(crate) default: DefaultState,
    /// Contexts the guest may have, the default one not counted; 0 until it asked.
    granted: AtomicU32,
    tables: Quota,
    /// Those of them that are for splitting large leaves.
    aside: PutAside,
    /// Pages unmapped that wait for a flush.
    waiting: Quota,
    /// Pages of other domains that are mapped.
    foreign: Quota,
    /// Pages that mappings hold.
    pinned: Pinned,
    dying: AtomicU32,
    /// One CPU at a time opens, closes and attaches.
    admin: Mutex<()>,
    /// Held while the devices of a group are moved together.
    moves: Mutex<()>,
    counters: Counters,
}

impl<'a> DomainIommu<'a> {
    /// The state of domain `id`. `contexts` is lent; context 0 is the default one, and there are
    /// never more than the slice holds, whatever `limits` says.
    #[must_use]
    pub fn new(id: DomId, role: Role, contexts: &'a [Context], limits: Limits) -> Self {
        let (tables, waiting, foreign) = (Quota::new(), Quota::new(), Quota::new());
        tables.allow(limits.default_map_frames);
        waiting.allow(limits.max_deferred_pages);
        foreign.allow(limits.max_foreign_pages);
        Self {
            id,
            role,
            limits,
            background: Background::default(),
            opt_ins: OptIns::empty(),
            group_rule: GroupRule::default(),
            contexts,
            spare: Context::new(),
            default: DefaultState::new(),
            granted: AtomicU32::new(0),
            tables,
            aside: PutAside::new(),
            waiting,
            foreign,
            pinned: Pinned::new(limits.max_pinned_pages),
            dying: AtomicU32::new(0),
            admin: Mutex::new(()),
            moves: Mutex::new(()),
            counters: Counters::default(),
        }
    }

    /// The same, with another background for contexts whose allocation does not choose one.
    #[must_use]
    pub fn with_background(self, background: Background) -> Self {
        Self { background, ..self }
    }

    /// The same, with risks that the embedder takes.
    #[must_use]
    pub fn with_opt_ins(self, opt_ins: OptIns) -> Self {
        Self { opt_ins, ..self }
    }

    /// The risks that the embedder takes.
    #[must_use]
    pub fn opt_ins(&self) -> OptIns {
        self.opt_ins
    }

    /// The same, with a rule for how it may place devices of one group.
    #[must_use]
    pub fn with_group_rule(self, group_rule: GroupRule) -> Self {
        Self { group_rule, ..self }
    }

    /// How it may place devices of one group.
    #[must_use]
    pub fn group_rule(&self) -> GroupRule {
        self.group_rule
    }

    /// The background of contexts whose allocation does not choose one.
    #[must_use]
    pub fn background(&self) -> Background {
        self.background
    }

    /// The domain.
    #[must_use]
    pub fn id(&self) -> DomId {
        self.id
    }

    /// What it is to the machine.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The administration lock: opening, closing and attaching, one at a time.
    pub(crate) fn administer(&self) -> MutexGuard<'_, ()> {
        self.admin.lock()
    }

    /// The lock of moving devices together. Who is called by a guest does not wait for it.
    pub(crate) fn moves(&self) -> &Mutex<()> {
        &self.moves
    }

    /// The map the domain starts with.
    #[must_use]
    pub fn default_map(&self) -> DefaultMap {
        self.default.map()
    }

    /// True if the hypervisor maintains the default context, so that nobody else may edit it.
    #[must_use]
    pub fn need_iommu(&self) -> bool {
        self.default.map().need_iommu()
    }

    /// True after the guest took the default context over, until it gives it back.
    #[must_use]
    pub fn owns_default(&self) -> bool {
        self.default.is_owned()
    }

    /// Most contexts the guest can be granted.
    pub(crate) fn grantable(&self) -> u32 {
        let lent = u32::try_from(self.contexts.len()).unwrap_or(u32::MAX).saturating_sub(1);
        // The last number is the spare context's.
        u32::from(self.limits.max_contexts).min(lent).min(u32::from(u16::MAX - 1))
    }

    pub(crate) fn granted(&self) -> u32 {
        self.granted.load(Ordering::Acquire)
    }

    /// Grants contexts and table frames, once. The caller holds the administration lock.
    pub(crate) fn grant(&self, contexts: u32, table_frames: u32) {
        self.tables.allow(self.limits.default_map_frames.saturating_add(table_frames));
        self.granted.store(contexts, Ordering::Release);
    }

    /// Nothing is given to the domain any more. Under the administration lock.
    pub(crate) fn set_dying(&self) {
        self.dying.store(1, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_dying(&self) -> bool {
        self.dying.load(Ordering::Acquire) != 0
    }

    pub(crate) fn tables(&self) -> &Quota {
        &self.tables
    }

    pub(crate) fn aside(&self) -> &PutAside {
        &self.aside
    }

    pub(crate) fn waiting(&self) -> &Quota {
        &self.waiting
    }

    pub(crate) fn foreign(&self) -> &Quota {
        &self.foreign
    }

    pub(crate) fn pinned(&self) -> &Pinned {
        &self.pinned
    }
}
