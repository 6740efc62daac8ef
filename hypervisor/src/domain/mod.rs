//! What the service keeps for one domain: its contexts and its share of everything.

mod limits;

pub(crate) use limits::Quota;
pub use limits::{Limits, UnknownFlags};

use pviommu_abi::{ContextId, DomId};

use crate::{
    context::Context,
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
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

/// The IOMMU state of a domain. The embedder keeps it in its own record of the domain.
#[derive(Debug)]
pub struct DomainIommu<'a> {
    id: DomId,
    role: Role,
    limits: Limits,
    background: Background,
    contexts: &'a [Context],
    /// Contexts the guest may have, the default one not counted; 0 until it asked.
    granted: AtomicU32,
    tables: Quota,
    /// Pages unmapped that wait for a flush.
    waiting: Quota,
    dying: AtomicU32,
    /// One CPU at a time opens, closes and attaches.
    admin: Mutex<()>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    unknown_flags: AtomicU64,
    leaked_pages: AtomicU64,
    leaked_tables: AtomicU64,
}

/// What has happened to a domain, for an operator to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DomainStats {
    /// Table frames charged to the domain now, reserved ones included.
    pub table_frames: u32,
    /// Most it may have.
    pub table_frames_allowed: u32,
    /// Pages unmapped that wait for a flush now, or to be given back after it.
    pub deferred_pages: u32,
    /// Calls with flag bits that mean nothing.
    pub unknown_flags: u64,
    /// Pages never given back because a unit did not complete a flush.
    pub leaked_pages: u64,
    /// Table frames never given back for the same reason.
    pub leaked_tables: u64,
}

impl<'a> DomainIommu<'a> {
    /// The state of domain `id`. `contexts` is lent; context 0 is the default one, and there are
    /// never more than the slice holds, whatever `limits` says.
    #[must_use]
    pub fn new(id: DomId, role: Role, contexts: &'a [Context], limits: Limits) -> Self {
        Self {
            id,
            role,
            limits,
            background: Background::default(),
            contexts,
            granted: AtomicU32::new(0),
            tables: Quota::new(),
            waiting: Quota::new(),
            dying: AtomicU32::new(0),
            admin: Mutex::new(()),
            counters: Counters::default(),
        }
    }

    /// The same, with another background for contexts whose allocation does not choose one.
    #[must_use]
    pub fn with_background(self, background: Background) -> Self {
        Self { background, ..self }
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

    /// A snapshot of its counters.
    #[must_use]
    pub fn stats(&self) -> DomainStats {
        DomainStats {
            table_frames: self.tables.used(),
            table_frames_allowed: self.tables.allowed(),
            deferred_pages: self.waiting.used(),
            unknown_flags: self.counters.unknown_flags.load(Ordering::Relaxed),
            leaked_pages: self.counters.leaked_pages.load(Ordering::Relaxed),
            leaked_tables: self.counters.leaked_tables.load(Ordering::Relaxed),
        }
    }

    /// The administration lock: opening, closing and attaching, one at a time.
    pub(crate) fn administer(&self) -> MutexGuard<'_, ()> {
        self.admin.lock()
    }

    /// A context the guest may name, other than the default one.
    pub(crate) fn context(&self, id: ContextId) -> Option<&Context> {
        let granted = usize::try_from(self.granted()).unwrap_or(0);
        let index = usize::from(id.0);
        if index == 0 || index > granted { None } else { self.contexts.get(index) }
    }

    /// Every context the guest may have, with its id.
    pub(crate) fn granted_contexts(&self) -> impl Iterator<Item = (ContextId, &Context)> {
        let granted = usize::try_from(self.granted()).unwrap_or(0);
        let ids = (1..=u16::MAX).map(ContextId);
        ids.zip(self.contexts.iter().skip(1)).take(granted)
    }

    /// Most contexts the guest can be granted.
    pub(crate) fn grantable(&self) -> u32 {
        let lent = u32::try_from(self.contexts.len()).unwrap_or(u32::MAX).saturating_sub(1);
        u32::from(self.limits.max_contexts).min(lent)
    }

    pub(crate) fn granted(&self) -> u32 {
        self.granted.load(Ordering::Acquire)
    }

    /// Grants contexts and table frames, once. The caller holds the administration lock.
    pub(crate) fn grant(&self, contexts: u32, table_frames: u32) {
        self.tables.allow(table_frames);
        self.waiting.allow(self.limits.max_deferred_pages);
        self.granted.store(contexts, Ordering::Release);
    }

    /// Nothing is given to the domain any more. Under the administration lock.
    pub(crate) fn set_dying(&self) {
        self.dying.store(1, Ordering::Release);
    }

    pub(crate) fn is_dying(&self) -> bool {
        self.dying.load(Ordering::Acquire) != 0
    }

    pub(crate) fn tables(&self) -> &Quota {
        &self.tables
    }

    pub(crate) fn waiting(&self) -> &Quota {
        &self.waiting
    }

    pub(crate) fn note_unknown_flags(&self) {
        self.counters.unknown_flags.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_leak(&self, pages: u64, tables: u64) {
        self.counters.leaked_pages.fetch_add(pages, Ordering::Relaxed);
        self.counters.leaked_tables.fetch_add(tables, Ordering::Relaxed);
    }
}
