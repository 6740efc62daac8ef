//! What one device was refused: a few records, how often, and whether there is an end of it.
//!
//! Written where faults are reported, which may be in an interrupt that stopped a reader of these very
//! records. So who reports never waits: while the records are being read it counts a lost one.

use pviommu_abi::FaultReason;

use super::Home;
use crate::{
    domain::Slot,
    platform::Access,
    sync::{AtomicU32, AtomicU64, Mutex, Ordering},
};

/// Records that are kept for a device until they are read.
pub(crate) const RECORDS_KEPT: usize = 8;

/// Milliseconds in which the log is told once at most that a device was stopped.
const TELL_EVERY_MS: u32 = 60_000;

/// How many faults of one device are taken for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRule {
    /// Milliseconds in which they are counted; then counting begins again.
    pub window_ms: u32,
    /// Most that are recorded in a window. The others are only counted.
    pub recorded: u32,
    /// A device with more than these in a window is stopped. `u32::MAX`: none is.
    pub storm: u32,
}

impl Default for FaultRule {
    /// 32 a second are recorded, and a device with more than 1024 is stopped.
    fn default() -> Self {
        Self { window_ms: 1000, recorded: 32, storm: 1024 }
    }
}

/// A fault, or several alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Of whose time with the device it is.
    tenure: u32,
    /// Where the device was.
    pub(crate) context: Option<Slot>,
    /// The first byte asked for.
    pub(crate) address: u64,
    pub(crate) access: Access,
    pub(crate) reason: FaultReason,
    pub(crate) count: u32,
}

impl Record {
    /// The scratch page of `context` was written, by one of the devices there.
    pub(crate) fn of_scratch(context: Slot) -> Self {
        let (reason, access) = (FaultReason::SCRATCH_WRITTEN, Access::WRITE);
        Self { tenure: 0, context: Some(context), address: 0, access, reason, count: 1 }
    }

    fn is_like(&self, other: &Self) -> bool {
        let page = |record: &Self| record.address >> 12;
        page(self) == page(other)
            && (self.tenure, self.context) == (other.tenure, other.context)
            && (self.access, self.reason) == (other.access, other.reason)
    }
}

/// What is to be done about one more fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rate {
    /// It is recorded.
    Usual,
    /// It is counted only.
    TooMany,
    /// The device is to be stopped, now and by who is told this.
    Storm,
}

type Records = heapless::Vec<Record, RECORDS_KEPT>;

/// The faults of a device.
#[derive(Debug)]
pub(crate) struct FaultLog {
    seen: AtomicU64,
    /// Faults that nobody can read of any more, and was told that.
    lost: AtomicU64,
    /// When this window began (milliseconds, 32 bits) and how many there were since (32 bits).
    window: AtomicU64,
    stopped: AtomicU32,
    /// How often it was stopped for its faults.
    storms: AtomicU32,
    /// When the log was told so last (milliseconds, 32 bits) and the number of that storm (32 bits).
    told: AtomicU64,
    /// Not 0 if there may be records, or lost ones.
    news: AtomicU32,
    /// Who has the device (a number for each time that it changed hands) and in which context.
    place: AtomicU64,
    records: Mutex<Records>,
}

impl FaultLog {
    pub(super) fn new() -> Self {
        Self {
            seen: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            window: AtomicU64::new(0),
            stopped: AtomicU32::new(0),
            storms: AtomicU32::new(0),
            told: AtomicU64::new(0),
            news: AtomicU32::new(0),
            place: AtomicU64::new(0),
            records: Mutex::new(Records::new()),
        }
    }

    /// Faults reported so far.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// True after a storm, until the device is started again.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) != 0
    }

    /// How often the device was stopped for its faults.
    pub(crate) fn storms(&self) -> u32 {
        self.storms.load(Ordering::Relaxed)
    }

    /// The number of the storm that begins at `now`, in milliseconds, if the log is to be told of it: who
    /// drives the device can have it started again and again. Called by who was told [`Rate::Storm`].
    pub(super) fn tell_storm(&self, now: u64) -> Option<u32> {
        let number = self.storms.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let now = low_half(now);
        let (when, told) = halves(self.told.load(Ordering::Relaxed));
        if told != 0 && now.wrapping_sub(when) < TELL_EVERY_MS {
            return None;
        }
        self.told.store(u64::from(now) << 32 | u64::from(number.max(1)), Ordering::Relaxed);
        Some(number)
    }

    /// The device is stopped for another reason than its faults.
    pub(super) fn stop(&self) {
        self.stopped.store(1, Ordering::Release);
    }

    /// The device may fault again.
    pub(super) fn restart(&self) {
        self.window.store(0, Ordering::Relaxed);
        self.stopped.store(0, Ordering::Release);
    }

    /// Notes where the device is. Under the lock of its state.
    pub(super) fn moved(&self, tenure: u32, home: Home) {
        let context = match home {
            Home::In(slot) => slot.number().wrapping_add(1),
            Home::Blocked | Home::Quarantine => 0,
        };
        self.place.store(u64::from(tenure) << 32 | u64::from(context), Ordering::Release);
    }

    /// Notes that somebody else has the device, or nobody: what was lost is not for them to know.
    pub(super) fn changed_hands(&self) {
        self.lost.store(0, Ordering::Relaxed);
    }

    /// Counts a fault at `now`, in milliseconds of any clock that does not go back.
    pub(super) fn count(&self, rule: FaultRule, now: u64) -> Rate {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let now = low_half(now);
        let mut count = 0;
        let _ = self.window.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (began, before) = halves(word);
            let same = before > 0 && now.wrapping_sub(began) < rule.window_ms;
            let began = if same { began } else { now };
            count = if same { before.saturating_add(1) } else { 1 };
            Some(u64::from(began) << 32 | u64::from(count))
        });
        let storm = rule.storm != u32::MAX && count > rule.storm;
        if storm && self.stopped.swap(1, Ordering::AcqRel) == 0 {
            return Rate::Storm;
        }
        if count > rule.recorded || self.is_stopped() { Rate::TooMany } else { Rate::Usual }
    }

    /// Records a fault; false if it is lost, because there is no room, or the records are being read.
    pub(super) fn record(&self, address: u64, access: Access, reason: FaultReason) -> bool {
        let Some(mut records) = self.records.try_lock() else { return false };
        let (tenure, context) = halves(self.place.load(Ordering::Acquire));
        let context = context.checked_sub(1).and_then(Slot::of_number);
        let record = Record { tenure, context, address, access, reason, count: 1 };
        // What was left for others is in the way.
        if records.last().is_some_and(|last| last.tenure != tenure) {
            records.clear();
        }
        let recorded = match records.last_mut().filter(|last| last.is_like(&record)) {
            Some(last) => {
                last.count = last.count.saturating_add(1);
                true
            }
            None => records.push(record).is_ok(),
        };
        self.news.store(1, Ordering::Release);
        recorded
    }

    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.news.store(1, Ordering::Release);
    }

    /// True if there may be something to read.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire) != 0
    }

    /// Moves what was recorded in this `tenure` to `to`, which says no from where it has no room on, and
    /// says how much was lost.
    pub(crate) fn read(&self, tenure: u32, mut to: impl FnMut(Record) -> bool) -> u64 {
        // Before the records: of what comes meanwhile there is news again.
        self.news.store(0, Ordering::Release);
        let mut records = self.records.lock();
        let mut left = Records::new();
        for record in records.iter().filter(|record| record.tenure == tenure) {
            if !to(*record) {
                let _ = left.push(*record);
                self.news.store(1, Ordering::Release);
            }
        }
        *records = left;
        self.lost.swap(0, Ordering::Relaxed)
    }
}

fn low_half(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0)
}

fn halves(word: u64) -> (u32, u32) {
    (low_half(word >> 32), low_half(word))
}

#[cfg(all(test, not(loom)))]
mod tests;
