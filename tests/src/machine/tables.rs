//! Memory for page tables: a fixed pool of frames at fixed machine frame numbers.
//!
//! A table's memory never moves, so looking it up takes no lock. A freed frame is filled with a
//! pattern that no unit accepts and rests for a while before it is used again, so that whoever
//! still walks it is seen. For units that do not snoop CPU caches each table has a second copy,
//! which holds what has been published.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::{Pool, TABLE_ENTRIES},
};
use rustc_hash::FxHashMap;

use super::{
    frames::lock,
    violation::{Violation, Violations},
};

/// Contents of a freed table: present, and with reserved bits set in every format.
pub const POISON: u64 = 0x7ead_dead_dead_d003;

/// Freed frames that rest before the oldest of them is used again.
const RESTING: usize = 64;

/// Tables whose memory is allocated together.
const CHUNK: usize = 64;

/// Owner word of a frame that is free; an allocated one has one more than its domain's number.
const FREE: u32 = 0;

type Words = [AtomicU64; TABLE_ENTRIES];

#[derive(Debug)]
struct Table {
    words: Words,
    owner: AtomicU32,
}

/// What units see that do not snoop CPU caches; allocated only if there is such a unit.
type Published = OnceLock<Box<[Words]>>;

/// How much of the pool a domain has.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    live: u32,
    reserved: u32,
    limit: Option<u32>,
}

#[derive(Debug, Default)]
struct Book {
    /// Frames of the pool that were never used: from here on.
    fresh: u32,
    resting: VecDeque<u32>,
    live: u32,
    peak: u32,
    reserved: u32,
    domains: FxHashMap<u16, Account>,
}

/// How much page-table memory is used, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableUse {
    /// Allocated now.
    pub live: u32,
    /// Most that were allocated at one time.
    pub peak: u32,
    /// Put aside and not allocated.
    pub reserved: u32,
}

/// The pool of table frames.
#[derive(Debug)]
pub struct Tables {
    first: u64,
    count: u32,
    chunks: Box<[OnceLock<Box<[Table]>>]>,
    published: Option<Box<[Published]>>,
    book: Mutex<Book>,
}

fn zeroed() -> Words {
    [const { AtomicU64::new(0) }; TABLE_ENTRIES]
}

fn fill(words: &Words, value: u64) {
    for word in words {
        word.store(value, Ordering::Relaxed);
    }
}

impl Tables {
    /// A pool of `count` frames from `first` on; with `published` copies if some unit does not
    /// snoop CPU caches.
    #[must_use]
    pub fn new(first: Mfn, count: u32, published: bool) -> Self {
        let chunks = (count as usize).div_ceil(CHUNK);
        Self {
            first: first.0,
            count,
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            published: published.then(|| (0..chunks).map(|_| OnceLock::new()).collect()),
            book: Mutex::default(),
        }
    }

    /// The frames of the pool, or `None` if it has none.
    #[must_use]
    pub fn frames(&self) -> Option<MfnRange> {
        MfnRange::of_pages(Mfn(self.first), u64::from(self.count))
    }

    /// Lets `domain` hold at most `limit` frames, allocated and reserved.
    pub fn limit(&self, domain: DomId, limit: u32) {
        lock(&self.book).domains.entry(domain.0).or_default().limit = Some(limit);
    }

    fn index(&self, frame: Mfn) -> Option<usize> {
        let index = frame.0.checked_sub(self.first).filter(|&i| i < u64::from(self.count))?;
        usize::try_from(index).ok()
    }

    fn slot(&self, index: usize) -> &Table {
        let chunk = self.chunks[index / CHUNK].get_or_init(|| {
            (0..CHUNK).map(|_| Table { words: zeroed(), owner: AtomicU32::new(FREE) }).collect()
        });
        &chunk[index % CHUNK]
    }

    fn published(&self, index: usize) -> Option<&Words> {
        let chunk = &self.published.as_ref()?[index / CHUNK];
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| zeroed()).collect());
        Some(&chunk[index % CHUNK])
    }

    /// The table in `frame`, if it is allocated.
    fn live(&self, frame: Mfn) -> Option<(usize, &Table)> {
        let index = self.index(frame)?;
        let table = self.chunks[index / CHUNK].get()?.get(index % CHUNK)?;
        (table.owner.load(Ordering::Acquire) != FREE).then_some((index, table))
    }

    /// True if `frame` is an allocated table.
    #[must_use]
    pub fn is_live(&self, frame: Mfn) -> bool {
        self.live(frame).is_some()
    }

    /// Entry `index` of the table in `frame` as a unit reads it, `None` if that is no allocated
    /// table. A unit that is not `coherent` sees what was published.
    #[must_use]
    pub fn entry(&self, frame: Mfn, index: usize, coherent: bool) -> Option<u64> {
        let (at, table) = self.live(frame)?;
        let words = if coherent { &table.words } else { self.published(at)? };
        Some(words[index].load(Ordering::Acquire))
    }

    /// The entries of the table in `frame`; none if it is not one. Asking for a frame of the
    /// pool that is free is a violation.
    #[must_use]
    pub fn words(&self, frame: Mfn, violations: &Violations) -> &[AtomicU64] {
        match self.live(frame) {
            Some((_, table)) => &table.words,
            None => {
                if self.index(frame).is_some() {
                    violations.record(Violation::FreeTableLookup { frame });
                }
                &[]
            }
        }
    }

    /// Copies entries to where units see them that do not snoop.
    pub fn publish(&self, frame: Mfn, first: usize, last: usize) {
        if let Some((at, table)) = self.live(frame)
            && let Some(published) = self.published(at)
        {
            for (to, from) in published[first..=last].iter().zip(&table.words[first..=last]) {
                to.store(from.load(Ordering::Acquire), Ordering::Release);
            }
        }
    }

    /// A frame of zeros, charged to `domain`; a zeroed frame counts as published.
    pub fn alloc(&self, domain: DomId, pool: Pool, violations: &Violations) -> Option<Mfn> {
        let mut book = lock(&self.book);
        let account = book.domains.entry(domain.0).or_default();
        match pool {
            Pool::Reserved if account.reserved == 0 => {
                violations.record(Violation::ReserveUnderflow { domain });
                return None;
            }
            Pool::Reserved => {
                account.reserved -= 1;
                account.live += 1;
                book.reserved -= 1;
            }
            Pool::Open => {
                let full = account.limit.is_some_and(|l| account.live + account.reserved >= l);
                if full || book.live + book.reserved >= self.count {
                    return None;
                }
                book.domains.entry(domain.0).or_default().live += 1;
            }
        }
        let rested = book.resting.len() >= RESTING || book.fresh == self.count;
        let index = if rested {
            book.resting.pop_front()?
        } else {
            book.fresh += 1;
            book.fresh - 1
        } as usize;
        book.live += 1;
        book.peak = book.peak.max(book.live);
        drop(book);

        let table = self.slot(index);
        fill(&table.words, 0);
        if let Some(published) = self.published(index) {
            fill(published, 0);
        }
        table.owner.store(u32::from(domain.0) + 1, Ordering::Release);
        Some(Mfn(self.first + index as u64))
    }

    /// Takes a frame back, and back into the reserve if `pool` says so.
    pub fn free(&self, domain: DomId, frame: Mfn, pool: Pool, violations: &Violations) {
        let charged = u32::from(domain.0) + 1;
        let taken = self.live(frame).filter(|(_, table)| {
            let (seen, order) = (&table.owner, Ordering::AcqRel);
            seen.compare_exchange(charged, FREE, order, Ordering::Relaxed).is_ok()
        });
        let Some((index, table)) = taken else {
            violations.record(Violation::BadTableFree { domain, frame });
            return;
        };
        fill(&table.words, POISON);
        if let Some(published) = self.published(index) {
            fill(published, POISON);
        }
        let mut book = lock(&self.book);
        book.live -= 1;
        book.resting.push_back(u32::try_from(index).unwrap());
        let back = u32::from(pool == Pool::Reserved);
        book.reserved += back;
        let account = book.domains.entry(domain.0).or_default();
        account.live -= 1;
        account.reserved += back;
    }

    /// Puts `frames` frames aside for `domain`, all or none.
    pub fn reserve(&self, domain: DomId, frames: u32) -> bool {
        let mut book = lock(&self.book);
        let left = self.count - book.live - book.reserved;
        let account = book.domains.entry(domain.0).or_default();
        let quota =
            account.limit.map_or(u32::MAX, |l| l.saturating_sub(account.live + account.reserved));
        let enough = frames <= left && frames <= quota;
        if enough {
            account.reserved += frames;
            book.reserved += frames;
        }
        enough
    }

    /// Gives up frames that were put aside.
    pub fn unreserve(&self, domain: DomId, frames: u32, violations: &Violations) {
        let mut book = lock(&self.book);
        let account = book.domains.entry(domain.0).or_default();
        let given = frames.min(account.reserved);
        account.reserved -= given;
        book.reserved -= given;
        if given < frames {
            violations.record(Violation::ReserveUnderflow { domain });
        }
    }

    /// How much of the whole pool is used.
    #[must_use]
    pub fn usage(&self) -> TableUse {
        let book = lock(&self.book);
        TableUse { live: book.live, peak: book.peak, reserved: book.reserved }
    }

    /// Frames of the pool that are charged to `domain`: allocated, and put aside.
    #[must_use]
    pub fn charged(&self, domain: DomId) -> (u32, u32) {
        let book = lock(&self.book);
        book.domains.get(&domain.0).map_or((0, 0), |a| (a.live, a.reserved))
    }
}
