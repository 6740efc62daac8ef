//! The used parts of an address space, each cut into a few columns of equal width.

use super::picture::Space;
use super::ranges::What;

/// What there is in one column, in bus frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Column {
    /// Mapped.
    pub(super) mapped: u64,
    /// Leading to the scratch page.
    pub(super) scratch: u64,
    /// Reserved, mapped or not.
    pub(super) reserved: u64,
    /// With entries that no unit accepts.
    pub(super) broken: u64,
}

/// Most parts that are told apart.
const PARTS: usize = 4;

/// A part of an address space, from its lowest to its highest mapped bus frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Strip {
    /// First bus frame, a multiple of the width of a column.
    pub(super) first: u64,
    /// Bus frames of a column, a power of two.
    pub(super) width: u64,
    /// The columns, at least one.
    pub(super) columns: Vec<Column>,
}

impl Strip {
    /// The used parts of `space`, each in at most `most` columns; none if nothing is mapped.
    #[must_use]
    pub(super) fn of(space: &Space, most: usize) -> Vec<Self> {
        parts(space)
            .into_iter()
            .map(|(first, last)| Self::window(space, first, last, most))
            .collect()
    }

    fn window(space: &Space, first: u64, last: u64, most: usize) -> Self {
        // Alignment may cost a column at each end, so this ends at the first width that fits.
        let mut bits = 0;
        while (last >> bits) - (first >> bits) >= most as u64 {
            bits += 1;
        }
        let count = (last >> bits) - (first >> bits) + 1;
        let mut strip = Self {
            first: first >> bits << bits,
            width: 1 << bits,
            columns: vec![Column::default(); usize::try_from(count).unwrap()],
        };
        for range in &space.ranges {
            strip.add(range.first, range.last, |column| match range.what {
                What::Page(_) => &mut column.mapped,
                What::Scratch => &mut column.scratch,
                What::Broken => &mut column.broken,
            });
        }
        for reserved in space.reserved.iter().filter(|reserved| reserved.enforced) {
            strip.add(reserved.first, reserved.last, |column| &mut column.reserved);
        }
        strip
    }

    /// The last bus frame.
    #[must_use]
    pub(super) const fn last(&self) -> u64 {
        self.first + self.width * self.columns.len() as u64 - 1
    }

    /// Counts the bus frames `first..=last` in the columns they are in.
    fn add(&mut self, first: u64, last: u64, of: impl Fn(&mut Column) -> &mut u64) {
        let (from, to) = (first.max(self.first), last.min(self.last()));
        if from > to {
            return;
        }
        let (start, width) = (self.first, self.width);
        let place = |frame: u64| usize::try_from((frame - start) / width).unwrap();
        for at in place(from)..=place(to) {
            let left = start + at as u64 * width;
            let part = to.min(left + (width - 1)) - from.max(left) + 1;
            *of(&mut self.columns[at]) += part;
        }
    }
}

/// Cuts what is mapped where the gap is most of it: two small parts far away from each other
/// would be two dots.
fn parts(space: &Space) -> Vec<(u64, u64)> {
    let ranges: Vec<(u64, u64)> = space.notable().map(|range| (range.first, range.last)).collect();
    let mut parts = vec![ranges.as_slice()];
    while parts.len() < PARTS {
        let cut = parts.iter().enumerate().find_map(|(number, part)| {
            let gap = |at: &usize| part[*at].0 - part[at - 1].1;
            let widest = (1..part.len()).max_by_key(gap)?;
            let whole = part[part.len() - 1].1 - part[0].0;
            (gap(&widest) > whole / 4 * 3).then_some((number, widest))
        });
        let Some((number, at)) = cut else { break };
        let (left, right) = parts[number].split_at(at);
        parts.splice(number..=number, [left, right]);
    }
    parts.iter().filter_map(|part| Some((part.first()?.0, part.last()?.1))).collect()
}

#[cfg(test)]
mod tests {
    use pviommu_hypervisor::format::FormatKind;

    use super::*;
    use crate::iommu::Rights;
    use crate::show::entry::{Page, PageSize};
    use crate::show::ranges::Range;
    use crate::show::survey::Survey;

    fn space(mapped: &[(u64, u64)]) -> Space {
        let what =
            What::Page(Page::decode(FormatKind::VtdSecondStage, 0, PageSize::Small, Rights::ALL));
        let range = |&(first, last): &(u64, u64)| Range { first, last, what, runs: 1 };
        let ranges = mapped.iter().map(range).collect();
        Space::new(Survey { ranges, frame_bits: 36, ..Survey::default() })
    }

    #[test]
    fn a_column_is_a_power_of_two_and_aligned() {
        let strips = Strip::of(&space(&[(0xfff01, 0xfff60), (0xfffff, 0xfffff)]), 64);
        let strip = &strips[0];
        assert_eq!((strip.first, strip.width, strip.last()), (0xfff00, 4, 0xfffff));
        let mapped: Vec<u64> = strip.columns.iter().map(|column| column.mapped).collect();
        assert_eq!((mapped[0], mapped[1], mapped[24], mapped[63]), (3, 4, 1, 1));
        assert_eq!(mapped.iter().sum::<u64>(), 97);
    }

    #[test]
    fn parts_far_away_from_each_other_are_cut() {
        let end = (1 << 36) - 1;
        let list = [(0, 9), (12, 15), (0xfff00, 0xfffff), (end, end)];
        let strips = Strip::of(&space(&list), 80);
        let bounds: Vec<(u64, u64)> = strips.iter().map(|s| (s.first, s.last())).collect();
        assert_eq!(bounds, [(0, 15), (0xfff00, 0xfffff), (end, end)]);
        assert_eq!(Strip::of(&space(&[]), 80), []);
        let scattered: Vec<(u64, u64)> = (0..30).map(|bit| (1 << bit, 1 << bit)).collect();
        assert!(Strip::of(&space(&scattered), 80).len() <= PARTS);
    }

    #[test]
    fn the_whole_of_the_largest_space_fits() {
        let end = (1 << 36) - 1;
        let strips = Strip::of(&space(&[(0, 0), (end / 2, end / 2), (end, end)]), 80);
        assert_eq!((strips.len(), strips[0].columns.len(), strips[0].width), (1, 64, 1 << 30));
    }
}
