//! What a domain may use, and what it uses.

use crate::sync::{AtomicU32, Ordering};

/// Upper bounds the embedder sets for a domain (INV-57).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most contexts besides the default one; 0 refuses every call with `-ENODEV`.
    pub max_contexts: u16,
    /// Most table frames that the guest can ask for, as a power of two.
    pub max_arena_order: u8,
    /// Table frames from the start, for the default context; those the guest asks for are added.
    pub default_map_frames: u32,
    /// Most pages that are unmapped and wait for a flush; 0: an unmap always flushes.
    pub max_deferred_pages: u32,
    /// Most mappings of grants and of other domains' pages.
    pub max_foreign_pages: u32,
    /// Most pages that mappings hold, a page as often as it is mapped: the domain's own and others'.
    pub max_pinned_pages: u64,
    /// Most tags of one unit that the contexts besides the default one may have, and so how many of
    /// them may have devices behind it at a time.
    pub max_tags: u16,
    /// Most invalidations, on all units together, until
    /// [`DomainIommu::renew_invalidations`](super::DomainIommu::renew_invalidations) is called. A guest
    /// that has used them up is told to make its call again, until then. `u32::MAX`: no bound, and
    /// nothing to be called.
    pub max_invalidations: u32,
    /// Most elements of a batch.
    pub max_batch: u32,
    /// Most lines that the log is told of the domain until
    /// [`DomainIommu::renew_log_lines`](super::DomainIommu::renew_log_lines) is called; others are only
    /// counted. `u32::MAX`: no bound.
    pub max_log_lines: u32,
    /// What to do with v7 flag bits that mean nothing.
    pub unknown_flags: UnknownFlags,
}

/// What to do with flag bits of a v7 call that mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownFlags {
    /// Ignore and count them, as the ABI's reference does.
    Ignore,
    /// Refuse the call with `-EINVAL`.
    Refuse,
}

impl Default for Limits {
    /// What the Linux driver asks for: 128 contexts, 4096 table frames. As many pages may wait for a
    /// flush, and a batch may be eight pages of elements. 512 frames for the default context are
    /// enough for a map of some TiB in large pages. The log is told 16 lines. Pages held, tags and
    /// invalidations are not bounded.
    fn default() -> Self {
        Self {
            max_contexts: 128,
            max_arena_order: 12,
            default_map_frames: 512,
            max_deferred_pages: 4096,
            max_foreign_pages: 65536,
            max_pinned_pages: u64::MAX,
            max_tags: u16::MAX,
            max_invalidations: u32::MAX,
            max_batch: 1024,
            max_log_lines: 16,
            unknown_flags: UnknownFlags::Ignore,
        }
    }
}

/// A share of something, and how much of it is used. Touched when a table comes or goes and when
/// removals are put off, never for a page.
#[derive(Debug)]
pub(crate) struct Quota {
    used: AtomicU32,
    allowed: AtomicU32,
}

impl Quota {
    /// Nothing used, nothing allowed.
    pub(crate) fn new() -> Self {
        Self { used: AtomicU32::new(0), allowed: AtomicU32::new(0) }
    }

    pub(crate) fn allow(&self, amount: u32) {
        self.allowed.store(amount, Ordering::Release);
    }

    pub(crate) fn allowed(&self) -> u32 {
        self.allowed.load(Ordering::Acquire)
    }

    pub(crate) fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> u32 {
        self.allowed().saturating_sub(self.used())
    }

    /// Takes `amount`, all or nothing; false if there is not as much left.
    pub(crate) fn take(&self, amount: u32) -> bool {
        let allowed = self.allowed();
        let more = |used: u32| used.checked_add(amount).filter(|sum| *sum <= allowed);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Gives `amount` back.
    pub(crate) fn give(&self, amount: u32) {
        self.used.fetch_sub(amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_gives_all_or_nothing_and_never_wraps() {
        let quota = Quota::new();
        assert!(!quota.take(1));
        quota.allow(10);
        assert!(quota.take(7));
        assert!(!quota.take(4));
        assert!(!quota.take(u32::MAX));
        assert!(quota.take(3));
        quota.give(10);
        assert_eq!(quota.used(), 0);
    }
}
