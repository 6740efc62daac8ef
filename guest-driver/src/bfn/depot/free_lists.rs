//! Free ranges by zone and size: which lists are not empty is a bit each.
//!
//! Four lists for each power of two of pages. Whatever is in a list that begins at a size or above
//! is long enough for it, so the first bit from there on is the answer: a good fit in a few steps,
//! whatever is free.

#![forbid(unsafe_code)]

use super::Id;
use super::zones::ZONES;

/// Lists of each power of two, as a power of two.
const STEPS_LG2: u32 = 2;
const WORDS: usize = 4;
/// How many lists a zone has.
const CLASSES: usize = WORDS * 64;

/// The list of free ranges of `pages` pages, at least one.
pub(super) fn class_of(pages: u64) -> usize {
    let power = pages.checked_ilog2().unwrap_or(0);
    // The bits below the highest one.
    let step = match power.checked_sub(STEPS_LG2) {
        Some(down) => pages.wrapping_shr(down),
        None => pages.wrapping_shl(STEPS_LG2.wrapping_sub(power)),
    };
    (power as usize * (1 << STEPS_LG2)) | (step as usize & ((1 << STEPS_LG2) - 1))
}

/// The first list of which every range has `pages` pages or more; `None` if there is none.
pub(super) fn class_for(pages: u64) -> Option<usize> {
    let down = pages.checked_ilog2()?.saturating_sub(STEPS_LG2);
    let below = 1_u64.wrapping_shl(down).wrapping_sub(1);
    pages.checked_add(below).map(class_of)
}

/// The first entries of all lists. How the lists go on stands in the entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct FreeLists {
    zones: [Zone; ZONES],
}

#[derive(Clone, Copy, Debug)]
struct Zone {
    /// A bit for each list with something in it.
    bits: [u64; WORDS],
    /// Of these lists, the first entry.
    heads: [Id; CLASSES],
}

impl FreeLists {
    pub(super) const EMPTY: Self =
        Self { zones: [Zone { bits: [0; WORDS], heads: [Id::NONE; CLASSES] }; ZONES] };

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        for zone in &mut self.zones {
            zone.bits = [0; WORDS];
        }
    }

    /// The first entry of a list, or none.
    pub(super) fn head(&self, zone: usize, class: usize) -> Id {
        match self.zones.get(zone) {
            Some(zone) if zone.bit(class) => zone.heads.get(class).copied().unwrap_or(Id::NONE),
            _ => Id::NONE,
        }
    }

    /// Makes `id` the first entry of a list.
    pub(super) fn set_head(&mut self, zone: usize, class: usize, id: Id) {
        let Some(zone) = self.zones.get_mut(zone) else { return };
        if let Some(word) = zone.bits.get_mut(class / 64) {
            let bit = 1_u64.wrapping_shl(class as u32);
            if id == Id::NONE { *word &= !bit } else { *word |= bit }
        }
        if let Some(head) = zone.heads.get_mut(class) {
            *head = id;
        }
    }

    /// The first list from `class` on that is not empty.
    pub(super) fn next_class(&self, zone: usize, class: usize) -> Option<usize> {
        let bits = &self.zones.get(zone)?.bits;
        let mut mask = u64::MAX.wrapping_shl(class as u32);
        for index in class / 64..WORDS {
            let word = bits.get(index)? & mask;
            if word != 0 {
                return Some((index * 64) | word.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

impl Zone {
    fn bit(&self, class: usize) -> bool {
        self.bits.get(class / 64).is_some_and(|word| word.wrapping_shr(class as u32) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn lists_are_in_the_order_of_sizes_and_hold_all_of_them() {
        let mut before = 0;
        for pages in 1..5000 {
            let class = class_of(pages);
            assert!(class >= before, "{pages}");
            before = class;
        }
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
    }

    #[test]
    fn the_list_to_look_in_has_ranges_that_are_long_enough_only() {
        for wanted in 1..600 {
            let class = class_for(wanted).unwrap();
            let shortest = (1..2000).find(|pages| class_of(*pages) >= class).unwrap();
            assert!(shortest >= wanted && shortest < wanted + wanted.div_ceil(4).max(1));
        }
        // Powers of two lose nothing.
        assert!((0..64).all(|lg2| class_for(1 << lg2) == Some(class_of(1 << lg2))));
        assert_eq!(class_for(u64::MAX), None);
        assert_eq!(class_for(0), None);
    }

    #[test]
    fn the_next_list_is_the_first_with_something_in_it() {
        let mut lists = FreeLists::EMPTY;
        assert_eq!(lists.next_class(2, 0), None);
        for class in [3, 64, 200, 255] {
            lists.set_head(2, class, Id(7));
        }
        let next = |from| lists.next_class(2, from);
        assert_eq!([next(0), next(3), next(4)], [Some(3), Some(3), Some(64)]);
        assert_eq!([next(65), next(201), next(255)], [Some(200), Some(255), Some(255)]);
        assert_eq!((lists.next_class(1, 0), lists.head(2, 3), lists.head(2, 4)), {
            (None, Id(7), Id::NONE)
        });
        lists.set_head(2, 255, Id::NONE);
        assert_eq!(lists.next_class(2, 201), None);
    }
}
