//! Who has how much of the pool of table frames, and which frame is handed out next.

use std::collections::VecDeque;

use pviommu_abi::DomId;
use pviommu_hypervisor::platform::Pool;
use rustc_hash::FxHashMap;

use super::{
    frames::lock,
    tables::Tables,
    violation::{Violation, Violations},
};

/// Freed frames that rest before the oldest of them is used again.
const RESTING: usize = 64;

/// What a frame of the pool is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// A page table: units walk it, devices never reach it.
    Table,
    /// A page that devices may read and write: no unit walks it.
    Scratch,
}

/// Why there is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shortage {
    /// None is left for this domain.
    Full,
    /// The domain has put none aside.
    NoReserve,
}

/// How much of the pool a domain has.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    live: u32,
    reserved: u32,
    limit: Option<u32>,
}

impl Account {
    fn quota(&self) -> u32 {
        self.limit.map_or(u32::MAX, |l| l.saturating_sub(self.live + self.reserved))
    }
}

/// How much page-table memory is used, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableUse {
    /// Tables allocated now.
    pub live: u32,
    /// Most tables that were allocated at one time.
    pub peak: u32,
    /// Put aside and not allocated.
    pub reserved: u32,
    /// Scratch pages allocated now.
    pub scratch: u32,
}

/// The accounts of a pool of `count` frames.
#[derive(Debug)]
pub(super) struct Book {
    count: u32,
    /// Frames of the pool that were never used: from here on.
    fresh: u32,
    resting: VecDeque<u32>,
    pub(super) used: TableUse,
    domains: FxHashMap<u16, Account>,
}

impl Book {
    pub(super) fn new(count: u32) -> Self {
        let (resting, domains) = (VecDeque::new(), FxHashMap::default());
        Self { count, fresh: 0, resting, used: TableUse::default(), domains }
    }

    pub(super) fn limit(&mut self, domain: DomId, limit: u32) {
        self.account(domain).limit = Some(limit);
    }

    fn account(&mut self, domain: DomId) -> &mut Account {
        self.domains.entry(domain.0).or_default()
    }

    fn left(&self) -> u32 {
        self.count - self.used.live - self.used.scratch - self.used.reserved
    }

    /// Charges a frame to `domain` and says which one it is.
    pub(super) fn take(&mut self, domain: DomId, pool: Pool, what: Use) -> Result<usize, Shortage> {
        let left = self.left();
        let account = self.account(domain);
        match pool {
            Pool::Reserved if account.reserved == 0 => return Err(Shortage::NoReserve),
            Pool::Open if left == 0 || account.quota() == 0 => return Err(Shortage::Full),
            Pool::Reserved => {
                account.reserved -= 1;
                account.live += 1;
                self.used.reserved -= 1;
            }
            Pool::Open => account.live += 1,
        }
        match what {
            Use::Table => self.used.live += 1,
            Use::Scratch => self.used.scratch += 1,
        }
        self.used.peak = self.used.peak.max(self.used.live);
        let rested = self.resting.len() >= RESTING || self.fresh == self.count;
        let index = if rested {
            self.resting.pop_front().ok_or(Shortage::Full)?
        } else {
            self.fresh += 1;
            self.fresh - 1
        };
        Ok(index as usize)
    }

    /// Takes frame `index` off the account of `domain`, or puts it aside for it again.
    pub(super) fn give(&mut self, domain: DomId, index: usize, pool: Pool, what: Use) {
        match what {
            Use::Table => self.used.live -= 1,
            Use::Scratch => self.used.scratch -= 1,
        }
        self.resting.push_back(u32::try_from(index).unwrap());
        let back = u32::from(pool == Pool::Reserved);
        self.used.reserved += back;
        let account = self.account(domain);
        account.live -= 1;
        account.reserved += back;
    }

    /// Puts `frames` frames aside for `domain`, all or none.
    pub(super) fn reserve(&mut self, domain: DomId, frames: u32) -> bool {
        let left = self.left();
        let account = self.account(domain);
        let enough = frames <= left && frames <= account.quota();
        if enough {
            account.reserved += frames;
            self.used.reserved += frames;
        }
        enough
    }

    /// Gives up frames that were put aside; false if fewer were.
    pub(super) fn unreserve(&mut self, domain: DomId, frames: u32) -> bool {
        let account = self.account(domain);
        let given = frames.min(account.reserved);
        account.reserved -= given;
        self.used.reserved -= given;
        given == frames
    }

    /// Frames charged to `domain`: allocated, and put aside.
    pub(super) fn charged(&self, domain: DomId) -> (u32, u32) {
        self.domains.get(&domain.0).map_or((0, 0), |a| (a.live, a.reserved))
    }
}

impl Tables {
    /// Lets `domain` hold at most `limit` frames, allocated and reserved.
    pub fn limit(&self, domain: DomId, limit: u32) {
        lock(&self.book).limit(domain, limit);
    }

    /// Puts `frames` frames aside for `domain`, all or none.
    pub fn reserve(&self, domain: DomId, frames: u32) -> bool {
        lock(&self.book).reserve(domain, frames)
    }

    /// Gives up frames that were put aside.
    pub fn unreserve(&self, domain: DomId, frames: u32, violations: &Violations) {
        if !lock(&self.book).unreserve(domain, frames) {
            violations.record(Violation::ReserveUnderflow { domain });
        }
    }

    /// How much of the whole pool is used.
    #[must_use]
    pub fn usage(&self) -> TableUse {
        lock(&self.book).used
    }

    /// Frames of the pool that are charged to `domain`: allocated, and put aside.
    #[must_use]
    pub fn charged(&self, domain: DomId) -> (u32, u32) {
        lock(&self.book).charged(domain)
    }
}
