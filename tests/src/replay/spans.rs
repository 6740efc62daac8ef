//! Sets of page numbers as sorted lists of spans.

/// Pages from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    /// `pages` pages from `first` on; at least one.
    pub(super) fn of_pages(first: u64, pages: u64) -> Self {
        Self { first, last: first + (pages - 1) }
    }

    /// The pages that the bytes `first..=last` touch, wholly or in part.
    pub(super) fn of_bytes(first: u64, last: u64) -> Self {
        Self { first: first >> 12, last: last >> 12 }
    }

    pub(super) fn pages(self) -> u64 {
        self.last - self.first + 1
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The pages in both.
    pub(super) fn common(self, other: Self) -> Option<Self> {
        self.overlaps(other)
            .then(|| Self { first: self.first.max(other.first), last: self.last.min(other.last) })
    }

    /// The smallest span that holds both.
    pub(super) fn joined(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// The span widened to multiples of `pages`, a power of two.
    pub(super) fn widened(self, pages: u64) -> Self {
        Self { first: self.first & !(pages - 1), last: self.last | (pages - 1) }
    }
}

/// Sorted spans that neither overlap nor touch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Spans(Vec<Span>);

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut sorted: Vec<Span> = spans.into_iter().collect();
        sorted.sort_unstable();
        let mut joined: Vec<Span> = Vec::new();
        for span in sorted {
            match joined.last_mut() {
                Some(end) if span.first <= end.last.saturating_add(1) => {
                    end.last = end.last.max(span.last);
                }
                _ => joined.push(span),
            }
        }
        Self(joined)
    }
}

impl Spans {
    pub(super) fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn pages(&self) -> u64 {
        self.iter().fold(0, |sum, span| sum.saturating_add(span.pages()))
    }

    /// The first span that ends at `page` or above.
    fn at(&self, page: u64) -> usize {
        self.0.partition_point(|span| span.last < page)
    }

    /// True if every page of `span` is in the set.
    pub(super) fn covers(&self, span: Span) -> bool {
        let found = self.0.get(self.at(span.first));
        found.is_some_and(|own| own.first <= span.first && span.last <= own.last)
    }

    /// True if any page of `span` is in the set.
    pub(super) fn touches(&self, span: Span) -> bool {
        self.0.get(self.at(span.first)).is_some_and(|own| own.overlaps(span))
    }

    /// The pages in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let parts = self.iter().flat_map(|span| {
            let from = other.at(span.first);
            other.0.iter().skip(from).map_while(move |theirs| span.common(*theirs))
        });
        parts.collect()
    }

    /// The pages of this set that are not in `other`.
    pub(super) fn difference(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for span in self.iter() {
            let mut from = Some(span.first);
            for hole in other.iter().skip(other.at(span.first)) {
                let Some(first) = from.filter(|_| hole.overlaps(span)) else { break };
                if first < hole.first {
                    left.push(Span { first, last: hole.first - 1 });
                }
                from = (hole.last < span.last).then_some(hole.last + 1);
            }
            left.extend(from.map(|first| Span { first, last: span.last }));
        }
        Self(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(u64, u64)]) -> Spans {
        list.iter().map(|&(first, last)| Span { first, last }).collect()
    }

    #[test]
    fn spans_join_when_they_touch() {
        assert_eq!(spans(&[(5, 9), (0, 4), (20, 30), (25, 26)]).0.len(), 2);
        assert_eq!(spans(&[(5, 9), (0, 4), (20, 30)]).pages(), 21);
    }

    #[test]
    fn set_operations_agree_with_sets_of_pages() {
        use std::collections::BTreeSet;
        let cases = [
            spans(&[]),
            spans(&[(0, 40)]),
            spans(&[(0, 3), (7, 9), (20, 22)]),
            spans(&[(2, 8), (9, 9), (22, 30)]),
            spans(&[(3, 3), (5, 5), (7, 7), (39, 40)]),
        ];
        let pages = |set: &Spans| -> BTreeSet<u64> {
            set.iter().flat_map(|span| span.first..=span.last).collect()
        };
        for a in &cases {
            for b in &cases {
                let (pa, pb) = (pages(a), pages(b));
                assert_eq!(pages(&a.intersection(b)), &pa & &pb, "{a:?} and {b:?}");
                assert_eq!(pages(&a.difference(b)), &pa - &pb, "{a:?} without {b:?}");
                for first in 0..42 {
                    let probe = Span { first, last: first + 2 };
                    let hits = (first..=first + 2).filter(|page| pa.contains(page)).count();
                    assert_eq!(a.covers(probe), hits == 3, "{a:?} covers {probe:?}");
                    assert_eq!(a.touches(probe), hits > 0, "{a:?} touches {probe:?}");
                }
            }
        }
    }
}
