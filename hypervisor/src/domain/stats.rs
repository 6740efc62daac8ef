//! What has happened to a domain: counters, for an operator to see, and what it may still cause.

use super::DomainIommu;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What has happened to a domain, for an operator to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DomainStats {
    /// Contexts in use besides the default one.
    pub contexts: u32,
    /// Table frames charged to the domain now, reserved ones included.
    pub table_frames: u32,
    /// Most it may have.
    pub table_frames_allowed: u32,
    /// Pages unmapped that wait for a flush now, or to be given back after it.
    pub deferred_pages: u32,
    /// Pages of other domains that are mapped now.
    pub foreign_pages: u32,
    /// Pages that mappings hold now, or that wait to be given back; those that leaked are among them.
    pub pinned_pages: u64,
    /// Invalidations that it caused, on all units together.
    pub invalidations: u64,
    /// Calls that were put off because its invalidations were used up.
    pub calls_put_off: u64,
    /// Faults of its devices of which it was told nothing: too many, or not read in time.
    pub lost_faults: u64,
    /// Calls with flag bits that mean nothing.
    pub unknown_flags: u64,
    /// Pages never given back because a unit did not complete a flush.
    pub leaked_pages: u64,
    /// Table frames never given back for the same reason.
    pub leaked_tables: u64,
    /// Lines that the log was not told, because there were too many.
    pub log_lines_suppressed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    unknown_flags: AtomicU64,
    leaked_pages: AtomicU64,
    leaked_tables: AtomicU64,
    /// Lines that the log was told since they were renewed.
    log_lines: AtomicU32,
    suppressed: AtomicU64,
    /// Written once an invalidation, which takes longer than any wait for the word.
    invalidations: AtomicU64,
    /// What that was when they were last renewed.
    renewed: AtomicU64,
    put_off: AtomicU64,
    /// Of which the guest was not told yet that they are lost.
    untold_faults: AtomicU64,
    lost_faults: AtomicU64,
    /// The number of the next fault record.
    fault_number: AtomicU64,
}

impl DomainIommu<'_> {
    /// A snapshot of its counters.
    #[must_use]
    pub fn stats(&self) -> DomainStats {
        let counters = &self.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let live = self.granted_contexts().filter(|context| context.is_live());
        DomainStats {
            contexts: live.fold(0, |sum: u32, _| sum.saturating_add(1)),
            table_frames: self.tables.used(),
            table_frames_allowed: self.tables.allowed(),
            deferred_pages: self.waiting.used(),
            foreign_pages: self.foreign.used(),
            pinned_pages: self.pinned.used(),
            invalidations: get(&counters.invalidations),
            calls_put_off: get(&counters.put_off),
            lost_faults: get(&counters.lost_faults),
            unknown_flags: get(&counters.unknown_flags),
            leaked_pages: get(&counters.leaked_pages),
            leaked_tables: get(&counters.leaked_tables),
            log_lines_suppressed: get(&counters.suppressed),
        }
    }

    /// Lets the domain cause [`Limits::max_invalidations`](super::Limits::max_invalidations)
    /// invalidations again: for the embedder's timer, once for each period that the bound is meant for.
    pub fn renew_invalidations(&self) {
        let so_far = self.counters.invalidations.load(Ordering::Relaxed);
        self.counters.renewed.store(so_far, Ordering::Relaxed);
    }

    /// True if the domain has caused as many invalidations as it may.
    #[inline]
    pub(crate) fn has_flushed_enough(&self) -> bool {
        let most = self.limits.max_invalidations;
        if most == u32::MAX {
            return false;
        }
        let since = self.counters.renewed.load(Ordering::Relaxed);
        let spent = self.counters.invalidations.load(Ordering::Relaxed).wrapping_sub(since);
        spent >= u64::from(most)
    }

    /// Lets the log be told [`Limits::max_log_lines`](super::Limits::max_log_lines) lines of the domain
    /// again: for the embedder's timer.
    pub fn renew_log_lines(&self) {
        self.counters.log_lines.store(0, Ordering::Relaxed);
    }

    /// True if the log may be told one line more, which is counted.
    pub(crate) fn may_log(&self) -> bool {
        let most = self.limits.max_log_lines;
        let more = |lines: u32| (lines < most).then(|| lines.saturating_add(1));
        most == u32::MAX
            || self
                .counters
                .log_lines
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok()
    }

    /// The log is not told a line.
    pub(crate) fn note_suppressed(&self) {
        self.counters.suppressed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_invalidation(&self) {
        self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_put_off(&self) {
        self.counters.put_off.fetch_add(1, Ordering::Relaxed);
    }

    /// Faults of its devices were lost.
    pub(crate) fn lose_faults(&self, faults: u64) {
        self.counters.lost_faults.fetch_add(faults, Ordering::Relaxed);
        self.keep_untold(faults);
    }

    /// The guest is still to be told that these were lost.
    pub(crate) fn keep_untold(&self, faults: u64) {
        self.counters.untold_faults.fetch_add(faults, Ordering::Relaxed);
    }

    /// Tells the guest how many were lost since it was told last.
    pub(crate) fn tell_lost_faults(&self) -> u64 {
        self.counters.untold_faults.swap(0, Ordering::Relaxed)
    }

    /// Numbers for this many fault records; the first of them.
    pub(crate) fn number_faults(&self, records: u64) -> u64 {
        self.counters.fault_number.fetch_add(records, Ordering::Relaxed)
    }

    pub(crate) fn note_unknown_flags(&self) {
        self.counters.unknown_flags.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_leak(&self, pages: u64, tables: u64) {
        self.counters.leaked_pages.fetch_add(pages, Ordering::Relaxed);
        self.counters.leaked_tables.fetch_add(tables, Ordering::Relaxed);
    }
}
