//! Which blocks of pages hold a range: an invalidation names 2^n pages that begin at a multiple of it.
//!
//! ```text
//!           middle: a multiple of the largest power of two in the range
//!  ┌───────────┬───┴───────┐
//!  │   [ first ┊ last ]    │   one block to each side, none more than twice as long as what it holds
//!  └───────────┴───────────┘
//! ```

use crate::addr::BfnRange;

/// `2^order` pages from `first` on, a multiple of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) order: u32,
}

impl Block {
    /// The smallest that holds both pages.
    fn around(first: u64, last: u64) -> Self {
        // The highest bit in which they differ is the highest that counts inside.
        let order = u64::BITS.saturating_sub((first ^ last).leading_zeros());
        let inside = 1u64.checked_shl(order).map_or(u64::MAX, |size| size.wrapping_sub(1));
        Self { first: first & !inside, order }
    }

    /// How many pages it has.
    fn pages(self) -> u64 {
        1u64.checked_shl(self.order).unwrap_or(u64::MAX)
    }
}

/// One block more than so many times as long as the range is two.
const WASTE: u64 = 4;

/// One block or two that hold `range`, together less than four times as long as it; `None` if one would
/// be longer than `2^max_order` pages.
pub(super) fn that_hold(range: BfnRange, max_order: u32) -> Option<(Block, Option<Block>)> {
    let (first, last) = (range.first().0, range.last().0);
    let one = Block::around(first, last);
    let short_enough = |block: Block| (block.order <= max_order).then_some(block);
    if one.pages() < range.pages().saturating_mul(WASTE) && one.order <= max_order {
        return Some((one, None));
    }
    // `last` has a one where `first` has a zero: there the halves of `one` meet. Without such a bit the
    // range is one page, which is a block of its own.
    let half = 1u64.checked_shl(one.order.checked_sub(1)?)?;
    let middle = one.first | half;
    // Each half is held from its end at the middle on: there it is aligned to whatever length.
    let below = Block::around(first, middle.wrapping_sub(1));
    let above = Block::around(middle, last);
    Some((short_enough(below)?, Some(short_enough(above)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pviommu_abi::Bfn;

    use super::*;

    fn of(first: u64, last: u64, max_order: u32) -> Option<Vec<(u64, u32)>> {
        let (one, two) = that_hold(BfnRange::new(Bfn(first), Bfn(last)).unwrap(), max_order)?;
        Some([Some(one), two].into_iter().flatten().map(|it| (it.first, it.order)).collect())
    }

    #[test]
    fn one_block_is_enough_if_it_is_not_much_longer() {
        assert_eq!(of(0x1234, 0x1234, 0), Some(vec![(0x1234, 0)]));
        assert_eq!(of(0x1200, 0x13ff, 9), Some(vec![(0x1200, 9)]));
        assert_eq!(of(1, 7, 9), Some(vec![(0, 3)]));
        assert_eq!(of(1, 2, 9), Some(vec![(0, 2)]));
    }

    #[test]
    fn a_range_across_a_large_boundary_is_two() {
        assert_eq!(of(0x7ff, 0x800, 18), Some(vec![(0x7ff, 0), (0x800, 0)]));
        assert_eq!(of(0x7fd, 0x804, 18), Some(vec![(0x7fc, 2), (0x800, 3)]));
        assert_eq!(of(0, 0x3ff, 9), Some(vec![(0, 9), (0x200, 9)]), "twice the longest");
    }

    #[test]
    fn what_is_too_long_for_two_is_none() {
        assert_eq!(of(0, 0x400, 9), None);
        assert_eq!(of(0, u64::MAX - 1, 18), None);
        assert_eq!(of(3, 6, 0), None);
    }

    proptest! {
        #[test]
        fn blocks_hold_the_range_are_aligned_and_not_much_longer(
            (first, last) in prop_oneof![
                (0u64..1 << 52, 0u64..1 << 20).prop_map(|(first, more)| (first, first + more)),
                (0u64..1 << 52, 0u64..1 << 52).prop_map(|(a, b)| (a.min(b), a.max(b))),
            ],
            max_order in 0u32..48,
        ) {
            let pages = last - first + 1;
            let Some(found) = of(first, last, max_order) else {
                prop_assert!(pages.next_power_of_two() >= 1 << max_order);
                return Ok(());
            };
            for page in [first, last, first + pages / 2, first + pages / 3] {
                prop_assert!(found.iter().any(|(at, order)| (*at..at + (1 << order)).contains(&page)));
            }
            let mut end = None;
            for (at, order) in &found {
                prop_assert!(*order <= max_order && at.is_multiple_of(1 << order));
                prop_assert!(end.is_none_or(|end| end == *at), "nothing is left out between two");
                end = Some(at + (1 << order));
            }
            let total: u64 = found.iter().map(|(_, order)| 1 << order).sum();
            prop_assert!(total < 4 * pages);
        }
    }
}
