//! What a call has the log told: noted where it happens, under whatever lock, and put into words when
//! the call is over and holds none.
//!
//! So a logger may take as long as it likes, and may call the service. How many lines there are of one
//! domain is bounded ([`Limits::max_log_lines`](crate::Limits::max_log_lines)), because a guest can have
//! them written.

use core::mem;

use pviommu_abi::DomId;

use super::{CallRoom, Cpu, Iommu};
use crate::{
    addr::BfnRange,
    context::Session,
    platform::Platform,
    sync::{AtomicU32, Mutex, Ordering},
};

/// Notices that wait at most: what is noted while as many wait is only counted.
const ROOM: usize = 8;

/// What has happened to a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// What a unit may still reach is never given back.
    Leaked { pages: u64, tables: u64 },
    /// Nobody reserves these bus frames any more, and they do not lead to the background.
    StaysBlocked(BfnRange),
}

type List = heapless::Vec<(DomId, Notice), ROOM>;

/// What the log is still to be told.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Not 0 if there may be any, or a failed unit of which the log does not know.
    any: AtomicU32,
    list: Mutex<List>,
}

impl Notices {
    /// False if there is no room.
    fn note(&self, domain: DomId, notice: Notice) -> bool {
        let noted = self.list.lock().push((domain, notice)).is_ok();
        self.wake();
        noted
    }

    /// There is something to be told.
    pub(super) fn wake(&self) {
        self.any.store(1, Ordering::Release);
    }

    fn take(&self) -> List {
        mem::take(&mut self.list.lock())
    }
}

impl<P: Platform> Session<'_, P> {
    /// Has the log told of the domain when the call is over, or counts that it is not.
    pub(crate) fn note(&self, notice: Notice) {
        let domain = self.domain;
        if !(domain.may_log() && self.iommu.notices.note(domain.id(), notice)) {
            domain.note_suppressed();
        }
    }

    /// Counts what is never given back, and has the log told.
    pub(crate) fn note_leak(&self, pages: u64, tables: u64) {
        if pages != 0 || tables != 0 {
            self.domain.note_leak(pages, tables);
            self.note(Notice::Leaked { pages, tables });
        }
    }
}

impl<P: Platform> Iommu<'_, P> {
    /// One call with the room of a CPU. What it has the log told is told when nothing is held any more.
    pub(crate) fn with_room<R>(&self, own: &Cpu, act: impl FnOnce(&mut CallRoom) -> R) -> R {
        let ended = act(&mut own.claim());
        if self.notices.any.load(Ordering::Relaxed) != 0 {
            self.tell();
        }
        ended
    }

    // Not inlined: the list would be on the stack of every call.
    #[cold]
    #[inline(never)]
    fn tell(&self) {
        // Before a look at what there is: who notes more wakes the next call.
        if self.notices.any.swap(0, Ordering::AcqRel) == 0 {
            return;
        }
        for (id, unit) in self.units() {
            if unit.take_untold() {
                crate::report::error!(
                    "pviommu: unit {} failed; contexts behind it are frozen",
                    id.0
                );
            }
        }
        for (domain, notice) in &self.notices.take() {
            match notice {
                Notice::Leaked { pages, tables } => crate::report::error!(
                    "pviommu: of domain {}, {pages} pages and {tables} table frames are never given back",
                    domain.0
                ),
                Notice::StaysBlocked(range) => crate::report::warn!(
                    "pviommu: of domain {}, the bus frames {range} stay blocked for want of a table",
                    domain.0
                ),
            }
        }
    }
}
