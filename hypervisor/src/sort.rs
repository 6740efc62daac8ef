//! Sorting in place: without an allocator, and without a panic if keys change meanwhile.

/// Sorts `items` by `key`, by a heap: the order of those with the same key is any.
pub(crate) fn sort_by_key<T: Copy, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let len = items.len();
    for root in (0..len / 2).rev() {
        sift(items, root, len, &key);
    }
    for end in (1..len).rev() {
        exchange(items, 0, end);
        sift(items, 0, end, &key);
    }
}

/// Lets the item at `at` sink below all that are greater, among the first `len`.
fn sift<T: Copy, K: Ord>(items: &mut [T], mut at: usize, len: usize, key: &impl Fn(&T) -> K) {
    loop {
        let left = at.saturating_mul(2).saturating_add(1);
        let right = left.saturating_add(1);
        let weight = |items: &[T], index: usize| items.get(index).filter(|_| index < len).map(key);
        let mut greatest = at;
        for child in [left, right] {
            if weight(items, child) > weight(items, greatest) {
                greatest = child;
            }
        }
        if greatest == at {
            return;
        }
        exchange(items, at, greatest);
        at = greatest;
    }
}

fn exchange<T: Copy>(items: &mut [T], one: usize, other: usize) {
    let (Some(first), Some(second)) = (items.get(one).copied(), items.get(other).copied()) else {
        return;
    };
    for (place, item) in [(one, second), (other, first)] {
        if let Some(place) = items.get_mut(place) {
            *place = item;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::sort_by_key;

    #[test]
    fn whatever_the_order_was_it_is_ascending_and_nothing_is_lost() {
        for len in 0..70u64 {
            for seed in [0, 1, 7, 31] {
                let mut items: Vec<u64> = (0..len).map(|i| (i * seed + 13) % (len + 3)).collect();
                let mut expected = items.clone();
                expected.sort_unstable();
                sort_by_key(&mut items, |item| *item);
                assert_eq!(items, expected);
                sort_by_key(&mut items, |item| core::cmp::Reverse(*item));
                expected.reverse();
                assert_eq!(items, expected);
            }
        }
    }
}
