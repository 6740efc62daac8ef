//! Memory for page tables: a fixed pool of frames at fixed machine frame numbers.
//!
//! A table's memory never moves, so looking it up takes no lock. A freed frame is filled with a
//! pattern that no unit accepts and rests for a while before it is used again, so that whoever
//! still walks it is seen. For units that do not snoop CPU caches each table has a second copy,
//! which holds what has been published. Scratch pages come from the same pool: see `scratch`.

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::{Pool, TABLE_ENTRIES},
    sync::AtomicU64,
};

use super::{
    book::{Book, Shortage, Use},
    frames::{Reach, lock},
    late::Late,
    scratch::ScratchUse,
    violation::{Violation, Violations},
};
use crate::sync::{QuietWord, quiet};

pub use super::book::TableUse;

/// Contents of a freed table: present, and with reserved bits set in every format.
pub const POISON: u64 = 0x7ead_dead_dead_d003;

/// Tables whose memory is allocated together.
const CHUNK: usize = 64;

/// Owner word of a frame that is free; an allocated one has one more than its domain's number.
const FREE: u32 = 0;

/// Set in the owner word of a scratch page.
const SCRATCH: u32 = 1 << 31;

pub(super) type Words = [AtomicU64; TABLE_ENTRIES];

#[derive(Debug)]
pub(super) struct Table {
    pub(super) words: Words,
    owner: AtomicU32,
    /// Of a scratch page, the frame of the root that first led to it; 0 if none did.
    pub(super) root: QuietWord,
    /// Of a scratch page of quarantine, the device that first reached it, and one; 0 if none did.
    pub(super) device: QuietWord,
}

/// What units see that do not snoop CPU caches; allocated only if there is such a unit.
type Published = OnceLock<Box<[Words]>>;

/// The pool of table frames.
#[derive(Debug)]
pub struct Tables {
    first: u64,
    count: u32,
    chunks: Box<[OnceLock<Box<[Table]>>]>,
    published: Option<Box<[Published]>>,
    pub(super) book: Mutex<Book>,
    pub(super) late: Late,
    pub(super) scratch_use: ScratchUse,
}

fn zeroed() -> Words {
    [const { AtomicU64::new(0) }; TABLE_ENTRIES]
}

fn fill(words: &Words, value: u64) {
    for word in words {
        quiet(word).store(value, Ordering::Relaxed);
    }
}

/// The owner word of a frame of `domain`.
fn charged_to(domain: DomId, what: Use) -> u32 {
    let number = u32::from(domain.0) + 1;
    if what == Use::Scratch { number | SCRATCH } else { number }
}

impl Table {
    fn fresh() -> Self {
        let (owner, [root, device]) = (AtomicU32::new(FREE), [const { QuietWord::new(0) }; 2]);
        Self { words: zeroed(), owner, root, device }
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
            book: Mutex::new(Book::new(count)),
            late: Late::none(),
            scratch_use: ScratchUse::default(),
        }
    }

    /// The frames of the pool, or `None` if it has none.
    #[must_use]
    pub fn frames(&self) -> Option<MfnRange> {
        MfnRange::of_pages(Mfn(self.first), u64::from(self.count))
    }

    fn index(&self, frame: Mfn) -> Option<usize> {
        let index = frame.0.checked_sub(self.first).filter(|&i| i < u64::from(self.count))?;
        usize::try_from(index).ok()
    }

    /// True if `frame` belongs to the pool, allocated or not.
    #[must_use]
    pub fn has(&self, frame: Mfn) -> bool {
        self.index(frame).is_some()
    }

    fn slot(&self, index: usize) -> &Table {
        let chunk =
            self.chunks[index / CHUNK].get_or_init(|| (0..CHUNK).map(|_| Table::fresh()).collect());
        &chunk[index % CHUNK]
    }

    fn published(&self, index: usize) -> Option<&Words> {
        let chunk = &self.published.as_ref()?[index / CHUNK];
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| zeroed()).collect());
        Some(&chunk[index % CHUNK])
    }

    /// The allocated frame, whatever it is used for, and its owner word.
    fn live(&self, frame: Mfn) -> Option<(usize, &Table, u32)> {
        let index = self.index(frame)?;
        let table = self.chunks[index / CHUNK].get()?.get(index % CHUNK)?;
        let owner = table.owner.load(Ordering::Acquire);
        (owner != FREE).then_some((index, table, owner))
    }

    /// The table in `frame`, if that is one.
    fn live_table(&self, frame: Mfn) -> Option<(usize, &Table)> {
        let (index, table, owner) = self.live(frame)?;
        (owner & SCRATCH == 0).then_some((index, table))
    }

    /// The domain that has the table in `frame`, if that is one.
    pub(super) fn owner_of(&self, frame: Mfn) -> Option<DomId> {
        let (.., owner) = self.live(frame)?;
        u16::try_from(owner.checked_sub(1)?).ok().map(DomId)
    }

    /// The scratch page in `frame` and its domain, if that is one.
    pub(super) fn scratch(&self, frame: Mfn) -> Option<(&Table, DomId)> {
        let (_, page, owner) = self.live(frame)?;
        let domain = u16::try_from((owner & !SCRATCH) - 1).ok()?;
        (owner & SCRATCH != 0).then_some((page, DomId(domain)))
    }

    /// What a device finds at `frame`, which belongs to the pool.
    pub(super) fn reach(&self, frame: Mfn) -> Reach {
        match self.live(frame) {
            Some((_, _, owner)) if owner & SCRATCH != 0 => Reach::Scratch,
            Some(_) => Reach::Forbidden,
            None => Reach::Free,
        }
    }

    /// The first of `frames` that is allocated, as a table or a scratch page.
    #[must_use]
    pub fn first_in(&self, frames: MfnRange) -> Option<Mfn> {
        let pool = self.frames()?.intersection(frames)?;
        (pool.first().0..=pool.last().0).map(Mfn).find(|frame| self.live(*frame).is_some())
    }

    /// True if `frame` is an allocated table.
    #[must_use]
    pub fn is_live(&self, frame: Mfn) -> bool {
        self.live_table(frame).is_some()
    }

    /// Entry `index` of the table in `frame` as a unit reads it, `None` if that is no allocated
    /// table. A unit that is not `coherent` sees what was published.
    #[must_use]
    pub fn entry(&self, frame: Mfn, index: usize, coherent: bool) -> Option<u64> {
        self.entries(frame, coherent).map(|words| words[index].load(Ordering::Acquire))
    }

    /// All of them, to be read one by one.
    pub(crate) fn entries(&self, frame: Mfn, coherent: bool) -> Option<&Words> {
        let (at, table) = self.live_table(frame)?;
        if coherent { Some(&table.words) } else { self.published(at) }
    }

    /// The words of the table or of the scratch page in `frame`; none if it is neither. Asking
    /// for a frame of the pool that is free is a violation.
    #[must_use]
    pub fn words(&self, frame: Mfn, violations: &Violations) -> &[AtomicU64] {
        match self.live(frame) {
            Some((_, table, owner)) => {
                if owner & SCRATCH != 0 {
                    self.late.settle(frame, |write| self.land(write));
                }
                &table.words
            }
            None => {
                if self.has(frame) {
                    violations.record(Violation::FreeTableLookup { frame });
                }
                &[]
            }
        }
    }

    /// Copies entries to where units see them that do not snoop.
    pub fn publish(&self, frame: Mfn, first: usize, last: usize) {
        if let Some((at, table)) = self.live_table(frame)
            && let Some(published) = self.published(at)
        {
            for (to, from) in published[first..=last].iter().zip(&table.words[first..=last]) {
                // Until it holds: else a CPU that publishes an older value could be the last.
                let (to, from) = (quiet(to), quiet(from));
                let mut now = from.load(Ordering::SeqCst);
                loop {
                    to.store(now, Ordering::SeqCst);
                    let then = std::mem::replace(&mut now, from.load(Ordering::SeqCst));
                    if then == now {
                        break;
                    }
                }
            }
        }
    }

    /// A frame of zeros, charged to `domain`; a zeroed frame counts as published.
    pub fn alloc(&self, domain: DomId, pool: Pool, violations: &Violations) -> Option<Mfn> {
        self.take(domain, pool, Use::Table, violations)
    }

    pub(super) fn take(
        &self,
        domain: DomId,
        pool: Pool,
        what: Use,
        violations: &Violations,
    ) -> Option<Mfn> {
        let taken = lock(&self.book).take(domain, pool, what);
        if taken == Err(Shortage::NoReserve) {
            violations.record(Violation::ReserveUnderflow { domain });
        }
        let index = taken.ok()?;
        let table = self.slot(index);
        fill(&table.words, 0);
        if let Some(published) = self.published(index) {
            fill(published, 0);
        }
        table.root.store(0, Ordering::Relaxed);
        table.device.store(0, Ordering::Relaxed);
        table.owner.store(charged_to(domain, what), Ordering::Release);
        Some(Mfn(self.first + index as u64))
    }

    /// Takes a frame back, and back into the reserve if `pool` says so.
    pub fn free(&self, domain: DomId, frame: Mfn, pool: Pool, violations: &Violations) {
        self.give(domain, frame, pool, Use::Table, violations);
    }

    pub(super) fn give(
        &self,
        domain: DomId,
        frame: Mfn,
        pool: Pool,
        what: Use,
        violations: &Violations,
    ) {
        let charged = charged_to(domain, what);
        let taken = self.live(frame).filter(|(_, table, _)| {
            let (seen, order) = (&table.owner, Ordering::AcqRel);
            seen.compare_exchange(charged, FREE, order, Ordering::Relaxed).is_ok()
        });
        let Some((index, table, _)) = taken else {
            violations.record(Violation::BadTableFree { domain, frame });
            return;
        };
        self.late.given_up(frame, || self.reach(frame));
        fill(&table.words, POISON);
        if let Some(published) = self.published(index) {
            fill(published, POISON);
        }
        lock(&self.book).give(domain, index, pool, what);
    }
}
