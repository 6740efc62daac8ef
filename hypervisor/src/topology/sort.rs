//! A sort in place that needs no memory and cannot panic.

/// Sorts by `key`: a heap sort, because the one of the core library may panic.
pub(super) fn sort<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
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

#[cfg(test)]
mod tests {
    use super::sort;

    #[test]
    fn whatever_order_things_come_in_they_end_up_sorted() {
        for count in 0..70u64 {
            for seed in 0..20u64 {
                let mix =
                    |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(77)) >> 57;
                let mut items: Vec<u64> = (0..count).map(mix).collect();
                let mut wanted = items.clone();
                wanted.sort_unstable();
                sort(&mut items, |item| *item);
                assert_eq!(items, wanted);
            }
        }
    }
}
