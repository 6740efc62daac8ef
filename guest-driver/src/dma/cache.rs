//! Which mappings a device has, by what they map.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashMap;
use lru::LruCache;
use pviommu_abi::Bfn;
use spin::Mutex;

use super::access::Access;
use super::buffer::{Buffer, Run, runs};
use super::mode::Hold;
use crate::bfn::BfnRange;

/// The mappings of a device, and how often one was found.
pub(super) struct Cache {
    pub(super) kept: Mutex<Lists>,
    pub(super) hits: AtomicU64,
}

/// The pages and permissions of a mapping.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    runs: Vec<Run>,
    access: Access,
}

/// Those in use, and those kept.
pub(super) struct Lists {
    /// Those that buffers have, with how many do.
    pub(super) active: HashMap<Arc<Key>, (BfnRange, usize)>,
    /// Those that nobody has, the ones used last first.
    pub(super) idle: LruCache<Arc<Key>, BfnRange>,
    /// Those that nobody has and that could not be unmapped: a part of each may have gone, so no map finds them.
    pub(super) stuck: Vec<(Arc<Key>, BfnRange)>,
    /// The device has gone, and nothing is kept any longer.
    pub(super) closed: bool,
}

impl Key {
    /// What a map of this buffer would map.
    pub(super) fn new<B: Buffer + ?Sized>(buffer: &B, access: Access) -> Self {
        Self { runs: runs(buffer).collect(), access }
    }
}

impl Cache {
    /// Keeps so many mappings that no buffer has.
    pub(super) fn new(most: NonZeroUsize) -> Self {
        let (active, idle) = (HashMap::new(), LruCache::new(most));
        let lists = Lists { active, idle, stuck: Vec::new(), closed: false };
        Self { kept: Mutex::new(lists), hits: AtomicU64::new(0) }
    }
}

impl Lists {
    /// A mapping of these pages, if there is one, for one buffer more.
    pub(super) fn find(&mut self, key: &Arc<Key>) -> Option<(Bfn, u32)> {
        if let Some((range, users)) = self.active.get_mut(key) {
            *users = users.checked_add(1)?;
            return Some((range.first(), Hold::pages(range)));
        }
        let (key, range) = self.idle.pop_entry(key)?;
        let place = (range.first(), Hold::pages(&range));
        self.active.insert(key, (range, 1));
        Some(place)
    }

    /// A new mapping, for one buffer; gives it back if there is one by now.
    pub(super) fn add(&mut self, key: &Arc<Key>, range: BfnRange) -> Result<(), BfnRange> {
        if self.active.contains_key(key) || self.idle.contains(key) {
            return Err(range);
        }
        self.active.insert(Arc::clone(key), (range, 1));
        Ok(())
    }

    /// One buffer less has it; if it was the last, it is kept. The one that goes for it, if there
    /// are too many.
    pub(super) fn keep(&mut self, key: &Arc<Key>) -> Option<(Arc<Key>, BfnRange)> {
        let range = self.leave(key)?;
        if self.closed {
            return Some((Arc::clone(key), range));
        }
        self.idle.push(Arc::clone(key), range)
    }

    /// A mapping of these pages that could not be unmapped.
    pub(super) fn take_stuck(&mut self, key: &Arc<Key>) -> Option<BfnRange> {
        let at = self.stuck.iter().position(|(other, _)| other == key)?;
        Some(self.stuck.swap_remove(at).1)
    }

    /// One buffer less has it. The range, if it was the last.
    pub(super) fn leave(&mut self, key: &Arc<Key>) -> Option<BfnRange> {
        let (_, users) = self.active.get_mut(key)?;
        *users = users.saturating_sub(1);
        if *users > 0 {
            return None;
        }
        Some(self.active.remove(key)?.0)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits = self.hits.load(Relaxed);
        f.debug_struct("Cache").field("hits", &hits).finish_non_exhaustive()
    }
}
