//! Ranges of bus frames that are alike, joined as they are found from low to high.

use serde::Serialize;

use super::entry::Page;

/// What a bus frame hits. What is in no range at all faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum What {
    /// A page that somebody mapped.
    Page(Page),
    /// The scratch page of the context.
    Scratch,
    /// An entry that no unit accepts: reserved bits, or a table that is none.
    Broken,
}

/// Bus frames that follow each other and hit the same kind of thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Range {
    /// First bus frame.
    pub first: u64,
    /// Last bus frame.
    pub last: u64,
    /// What they hit.
    #[serde(flatten)]
    pub what: What,
    /// Stretches of machine frames behind it: 1 if they follow each other as the bus frames do,
    /// as many as there are pages if no two do.
    pub runs: u64,
}

impl Range {
    /// Number of bus frames.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The pages of a mapped range: what they are, and how many.
    #[must_use]
    pub const fn pages(&self) -> Option<(Page, u64)> {
        match self.what {
            What::Page(page) => Some((page, self.frames() / page.size.frames())),
            What::Scratch | What::Broken => None,
        }
    }

    /// The bus frames it shares with `first..=last`.
    #[must_use]
    pub fn common(&self, first: u64, last: u64) -> u64 {
        let (from, to) = (self.first.max(first), self.last.min(last));
        (to + 1).saturating_sub(from)
    }
}

/// Ranges on their way.
#[derive(Default, Debug)]
pub(super) struct Ranges {
    list: Vec<Range>,
    /// The machine frame that would go on with the last range.
    next: u64,
}

impl Ranges {
    /// Adds bus frames above all that were added before; `machine` is the frame of the first.
    pub(super) fn push(&mut self, first: u64, frames: u64, what: What, machine: u64) {
        let last = first + (frames - 1);
        let follows = machine == self.next;
        self.next = machine + frames;
        match self.list.last_mut() {
            Some(end) if end.last + 1 == first && end.what == what => {
                end.last = last;
                // All of the background is one page, so there is nothing to count.
                end.runs += u64::from(!follows && what != What::Scratch);
            }
            _ => self.list.push(Range { first, last, what, runs: 1 }),
        }
    }

    pub(super) fn finish(self) -> Vec<Range> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use pviommu_hypervisor::format::FormatKind;

    use super::*;
    use crate::iommu::Rights;
    use crate::show::entry::PageSize;

    const GUEST: u64 = 2 << 52 | 1 << 54;

    fn page(size: PageSize, entry: u64) -> What {
        What::Page(Page::decode(FormatKind::VtdSecondStage, entry, size, Rights::ALL))
    }

    #[test]
    fn neighbours_that_are_alike_join_and_their_machine_frames_are_counted() {
        let mut ranges = Ranges::default();
        let what = page(PageSize::Small, GUEST);
        for (bfn, mfn) in [(10, 100), (11, 101), (12, 50), (13, 51), (14, 53)] {
            ranges.push(bfn, 1, what, mfn);
        }
        ranges.push(16, 1, what, 54);
        let expected = [
            Range { first: 10, last: 14, what, runs: 3 },
            Range { first: 16, last: 16, what, runs: 1 },
        ];
        assert_eq!(ranges.finish(), expected);
    }

    #[test]
    fn what_differs_in_size_access_or_origin_stays_apart() {
        let mut ranges = Ranges::default();
        let small = page(PageSize::Small, GUEST);
        let read = Rights { read: true, write: false };
        let readable =
            What::Page(Page::decode(FormatKind::VtdSecondStage, GUEST, PageSize::Small, read));
        let kinds = [small, readable, page(PageSize::Small, 1 << 52 | 1 << 54), What::Broken];
        for (bfn, what) in (511..).zip(kinds) {
            ranges.push(bfn, 1, what, bfn);
        }
        ranges.push(515, 512, page(PageSize::Large, GUEST), 1024);
        let list = ranges.finish();
        assert_eq!(list.len(), 5);
        assert_eq!(list[4].pages().unwrap().1, 1, "one page of 512 frames");
        assert_eq!(list[3].pages(), None);
    }

    #[test]
    fn the_background_is_one_range_however_it_is_put_together() {
        let mut ranges = Ranges::default();
        ranges.push(0, 512, What::Scratch, 7);
        ranges.push(512, 1, What::Scratch, 7);
        ranges.push(513, 1 << 27, What::Scratch, 7);
        let expected = Range { first: 0, last: 512 + (1 << 27), what: What::Scratch, runs: 1 };
        assert_eq!(ranges.finish(), [expected]);
    }

    #[test]
    fn the_common_part_of_a_range_and_a_window() {
        let range = Range { first: 10, last: 19, what: What::Broken, runs: 1 };
        let common =
            [(0, 9), (0, 10), (12, 13), (15, 40), (20, 40)].map(|(a, b)| range.common(a, b));
        assert_eq!(common, [0, 1, 2, 5, 0]);
    }
}
