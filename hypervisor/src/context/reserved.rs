//! The reserved ranges of a context: those of the devices attached to it.

use pviommu_abi::{Bfn, Errno};

use crate::{
    addr::BfnRange,
    platform::Access,
    reserved::{MAX_RESERVED, Reserved, ReservedKind},
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// A short list of ranges with use counts. Changed only while nobody is inside the context, and
/// read in a snapshot that the epoch guards, so its words need no order of their own.
///
/// A range stands here from before its first page is mapped until after the last one is not, so that
/// a failure half way leaves nothing that nobody knows of (INV-33).
pub(crate) struct ReservedRanges {
    slots: [Slot; MAX_RESERVED],
    /// Slots in use, and so at the front.
    used: AtomicU32,
}

struct Slot {
    first: AtomicU64,
    last: AtomicU64,
    kind: AtomicU32,
    access: AtomicU32,
    uses: AtomicU32,
}

const KINDS: [ReservedKind; 6] = [
    ReservedKind::Direct,
    ReservedKind::DirectRelaxable,
    ReservedKind::Reserved,
    ReservedKind::Msi,
    ReservedKind::SoftwareMsi,
    ReservedKind::BridgeWindow,
];

impl Slot {
    fn new() -> Self {
        Self {
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            kind: AtomicU32::new(0),
            access: AtomicU32::new(0),
            uses: AtomicU32::new(0),
        }
    }

    fn get(&self) -> Option<Reserved> {
        if self.uses.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let bfn = |word: &AtomicU64| Bfn(word.load(Ordering::Relaxed));
        let range = BfnRange::new(bfn(&self.first), bfn(&self.last))?;
        let kind = usize::try_from(self.kind.load(Ordering::Relaxed)).ok()?;
        let access = u8::try_from(self.access.load(Ordering::Relaxed)).ok()?;
        let access = Access::from_bits_truncate(access);
        Some(Reserved { range, kind: *KINDS.get(kind)?, access })
    }

    fn set(&self, reserved: &Reserved) {
        let kind = KINDS.iter().zip(0..=u32::MAX).find(|(kind, _)| **kind == reserved.kind);
        self.first.store(reserved.range.first().0, Ordering::Relaxed);
        self.last.store(reserved.range.last().0, Ordering::Relaxed);
        self.kind.store(kind.map_or(0, |(_, code)| code), Ordering::Relaxed);
        self.access.store(u32::from(reserved.access.bits()), Ordering::Relaxed);
        self.uses.store(1, Ordering::Relaxed);
    }
}

impl ReservedRanges {
    pub(crate) fn new() -> Self {
        Self { slots: core::array::from_fn(|_| Slot::new()), used: AtomicU32::new(0) }
    }

    /// All of them, also those that are only told.
    pub(crate) fn all(&self) -> impl Iterator<Item = Reserved> {
        let used = usize::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0);
        self.slots.iter().take(used).filter_map(Slot::get)
    }

    /// Those that no guest may map, one after the other, for who keeps others from changing them or looks again.
    pub(crate) fn each_enforced(&self) -> impl Iterator<Item = BfnRange> {
        self.all().filter(Reserved::enforced).map(|reserved| reserved.range)
    }

    /// Forgets all of them: the context is a new one.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.uses.store(0, Ordering::Relaxed);
        }
        self.used.store(0, Ordering::Relaxed);
    }

    /// Adds one use of each range, of all or none.
    ///
    /// # Errors
    /// `-EADDRINUSE`: a direct range overlaps another range, and is not the same with the same
    /// access (INV-32). `-ENOSPC`: there is no room for all.
    pub(crate) fn add(&self, ranges: &[Reserved]) -> Result<(), Errno> {
        let mut done = 0usize;
        for range in ranges {
            if let Err(errno) = self.add_one(range) {
                self.remove(ranges.get(..done).unwrap_or_default());
                return Err(errno);
            }
            done = done.saturating_add(1);
        }
        Ok(())
    }

    fn add_one(&self, added: &Reserved) -> Result<(), Errno> {
        if let Some(slot) = self.slots.iter().find(|slot| slot.get() == Some(*added)) {
            let uses = slot.uses.load(Ordering::Relaxed).checked_add(1).ok_or(Errno::ENOSPC)?;
            slot.uses.store(uses, Ordering::Relaxed);
            return Ok(());
        }
        let direct = |of: &Reserved| of.kind == ReservedKind::Direct;
        let conflict = |there: Reserved| {
            let matters = there.enforced() && added.enforced() && (direct(&there) || direct(added));
            matters && there.range.overlaps(added.range)
        };
        if self.all().any(conflict) {
            return Err(Errno::EADDRINUSE);
        }
        let free = self.slots.iter().zip(1..=u32::MAX).find(|(slot, _)| slot.get().is_none());
        let (slot, number) = free.ok_or(Errno::ENOSPC)?;
        slot.set(added);
        self.used.fetch_max(number, Ordering::Relaxed);
        Ok(())
    }

    /// Takes one use of each range away.
    pub(crate) fn remove(&self, ranges: &[Reserved]) {
        for range in ranges {
            if let Some(slot) = self.slots.iter().find(|slot| slot.get() == Some(*range)) {
                slot.uses.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(first: u64, last: u64, access: Access) -> Reserved {
        let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
        Reserved { range, kind: ReservedKind::Direct, access }
    }

    /// INV-32: one use count for each range and access; everything else that overlaps is refused.
    #[test]
    fn a_direct_range_is_shared_only_by_those_who_mean_the_same() {
        let (read, write) = (Access::READ, Access::READ | Access::WRITE);
        let ranges = ReservedRanges::new();
        assert_eq!(ranges.add(&[direct(10, 19, write)]), Ok(()));
        assert_eq!(ranges.add(&[direct(10, 19, write)]), Ok(()));
        let conflicts = [
            direct(10, 19, read),
            direct(10, 18, write),
            direct(19, 25, write),
            Reserved { kind: ReservedKind::Reserved, ..direct(19, 19, read) },
        ];
        for conflict in conflicts {
            let both = [direct(30, 30, read), conflict];
            assert_eq!(ranges.add(&both), Err(Errno::EADDRINUSE));
        }
        let relaxable = Reserved { kind: ReservedKind::DirectRelaxable, ..direct(19, 30, read) };
        assert_eq!(ranges.add(&[relaxable]), Ok(()));
        ranges.remove(&[direct(10, 19, write)]);
        assert_eq!(ranges.each_enforced().collect::<Vec<_>>(), [direct(10, 19, write).range]);
        ranges.remove(&[direct(10, 19, write)]);
        assert_eq!(ranges.each_enforced().next(), None);
        assert_eq!(ranges.add(&[direct(10, 19, read)]), Ok(()));
    }

    #[test]
    fn ranges_are_added_all_or_none() {
        let read = Access::READ;
        let many: Vec<_> = (0..=MAX_RESERVED as u64).map(|n| direct(n, n, read)).collect();
        let ranges = ReservedRanges::new();
        assert_eq!(ranges.add(&many), Err(Errno::ENOSPC));
        assert_eq!(ranges.all().count(), 0);
        assert_eq!(ranges.add(many.get(1..).unwrap()), Ok(()));
        assert_eq!(ranges.all().count(), MAX_RESERVED);
    }
}
