//! What the service knows about one IOMMU.

use crate::{
    platform::{Tag, UnitFacts},
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// One IOMMU of the machine: its facts, its free tags, and whether it still answers.
#[derive(Debug)]
pub struct Unit<'a> {
    facts: UnitFacts,
    tags: &'a [AtomicU64],
    /// 0: it answers. [`UNTOLD`], [`TOLD`]: it has failed, and whether the log knows.
    failed: AtomicU32,
    commands: AtomicU64,
    faults: AtomicU64,
}

const UNTOLD: u32 = 1;
const TOLD: u32 = 2;

impl<'a> Unit<'a> {
    /// A unit with `facts`. `tags` must be zero; each word keeps account of 64 tags, and the unit
    /// uses no more than those.
    #[must_use]
    pub fn new(facts: UnitFacts, tags: &'a [AtomicU64]) -> Self {
        let (commands, faults) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { facts, tags, failed: AtomicU32::new(0), commands, faults }
    }

    /// What the unit can do.
    #[must_use]
    pub fn facts(&self) -> &UnitFacts {
        &self.facts
    }

    /// True after the unit failed: nothing behind it is edited any more.
    #[must_use]
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != 0
    }

    /// Marks the unit failed; true for the first to do so.
    pub(crate) fn fail(&self) -> bool {
        self.failed.compare_exchange(0, UNTOLD, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// True, once, after it has failed: for who tells the log.
    pub(crate) fn take_untold(&self) -> bool {
        self.failed.compare_exchange(UNTOLD, TOLD, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Invalidations and syncs it was asked for so far.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Faults reported of it so far, also those of no device.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    pub(crate) fn note_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a tag, or `None` if all but `spare` are in use. Tag 0 is never given out: it is reserved on
    /// units that cache entries that are not present (VT-d 4.1, section 9.1).
    pub(crate) fn take_tag(&self, spare: u32) -> Option<Tag> {
        if self.tags_used().saturating_add(spare) >= self.tags_allowed() {
            return None;
        }
        for (index, word) in self.tags.iter().enumerate() {
            let base = u32::try_from(index).ok()?.checked_mul(64)?;
            let free = |bits: u64| {
                let bit = (!bits & if base == 0 { !1 } else { !0 }).trailing_zeros();
                let tag = base.saturating_add(bit);
                (bit < 64 && tag < self.facts.tags && tag <= u32::from(u16::MAX)).then_some(bit)
            };
            let mut bits = word.load(Ordering::Relaxed);
            while let Some(bit) = free(bits) {
                let taken = bits | 1u64.checked_shl(bit).unwrap_or(0);
                match word.compare_exchange(bits, taken, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return u16::try_from(base.saturating_add(bit)).ok().map(Tag),
                    Err(now) => bits = now,
                }
            }
        }
        None
    }

    /// Gives a tag back: no device entry names it and nothing is cached under it (INV-10).
    pub(crate) fn give_tag(&self, tag: Tag) {
        if let Some(word) = self.tags.get(usize::from(tag.0) / 64) {
            let bit = 1u64.checked_shl(u32::from(tag.0) % 64).unwrap_or(0);
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Most tags that can be in use.
    #[must_use]
    pub fn tags_allowed(&self) -> u32 {
        let words = u32::try_from(self.tags.len()).unwrap_or(u32::MAX);
        self.facts.tags.min(words.saturating_mul(64)).saturating_sub(1)
    }

    /// Number of tags in use.
    #[must_use]
    pub fn tags_used(&self) -> u32 {
        self.tags
            .iter()
            .fold(0, |sum, word| sum.saturating_add(word.load(Ordering::Relaxed).count_ones()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::FormatKind, platform::UnitFeatures};

    #[test]
    fn tags_are_unique_and_never_zero_and_come_back() {
        let words: Vec<AtomicU64> = (0..2).map(|_| AtomicU64::new(0)).collect();
        let facts = UnitFacts {
            format: FormatKind::VtdSecondStage,
            features: UnitFeatures::LEVELS_4,
            bus_address_bits: 48,
            host_address_bits: 46,
            tags: 70,
        };
        let unit = Unit::new(facts, &words);
        let tags: Vec<u16> = core::iter::from_fn(|| unit.take_tag(0)).map(|tag| tag.0).collect();
        assert_eq!(tags, (1..70).collect::<Vec<u16>>());
        unit.give_tag(Tag(66));
        assert_eq!(unit.take_tag(1), None, "one is left for others");
        assert_eq!(unit.take_tag(0), Some(Tag(66)));
        assert_eq!(unit.take_tag(0), None);
        assert_eq!(unit.tags_used(), 69);
    }
}
