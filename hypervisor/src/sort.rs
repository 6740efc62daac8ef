//! Sorting in place, by a heap: without an allocator, and without a panic if keys change meanwhile.

/// Sorts `items` by `key`: the order of those with the same key is any.
pub(crate) fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let in_order = |pair: &[T]| matches!(pair, [one, two] if key(one) <= key(two));
    if items.windows(2).all(in_order) {
        return;
    }
    let count = items.len();
    for from in (0..count / 2).rev() {
        sink(items, from, count, &key);
    }
    for end in (1..count).rev() {
        swap(items, 0, end);
        sink(items, 0, end, &key);
    }
}

/// Lets the item at `from` sink to its place among the first `end`.
fn sink<T, K: Ord>(items: &mut [T], from: usize, end: usize, key: &impl Fn(&T) -> K) {
    let mut at = from;
    loop {
        let left = at.saturating_mul(2).saturating_add(1);
        let child = |place: usize| items.get(place).filter(|_| place < end).map(key);
        let (Some(first), second) = (child(left), child(left.saturating_add(1))) else { return };
        let right = second.as_ref().is_some_and(|second| *second > first);
        let larger = if right { left.saturating_add(1) } else { left };
        if child(at) >= child(larger) {
            return;
        }
        swap(items, at, larger);
        at = larger;
    }
}

fn swap<T>(items: &mut [T], one: usize, other: usize) {
    if let Ok([one, other]) = items.get_disjoint_mut([one, other]) {
        core::mem::swap(one, other);
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
