//! Which parts of an address space get how much room: rows of cells where pages are scattered, one
//! bar for a long stretch that is all alike, one thin line for what is not mapped.

use crate::show::picture::Space;
use crate::show::ranges::Range;

/// Cells of a row, as a power of two.
pub(super) const ROW_BITS: u32 = 6;
/// Cells of a row.
pub(super) const ROW: u64 = 1 << ROW_BITS;
/// Most items of one address space; if there would be more, a cell stands for more.
const MOST: usize = 72;
/// Whole rows of one range that are drawn as one bar.
const BAR_ROWS: u64 = 3;

/// What is drawn as one line, from low to high bus frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item {
    /// A row of cells, from this bus frame on.
    Row(u64),
    /// Rows that one range covers: its number, first and last bus frame.
    Bar(usize, u64, u64),
    /// Bus frames that are not mapped.
    Gap(u64, u64),
    /// Bus frames that are not mapped and reserved: the number of the reservation.
    Reserved(usize, u64, u64),
}

/// The lines of one address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Bus frames of a cell, as a power of two.
    pub(super) cell_bits: u32,
    /// From low to high.
    pub(super) items: Vec<Item>,
}

impl Layout {
    /// The finest layout that is not too long.
    pub(super) fn of(space: &Space) -> Self {
        let ranges: Vec<Range> = space.notable().copied().collect();
        let last = (1_u64 << space.frame_bits) - 1;
        let mut cell_bits = 0;
        loop {
            let mapped = lines(&ranges, cell_bits);
            if mapped.len() <= MOST || cell_bits + ROW_BITS >= space.frame_bits {
                return Self { cell_bits, items: with_gaps(space, &mapped, cell_bits, last) };
            }
            cell_bits += 1;
        }
    }
}

/// Rows and bars for what is mapped. A bar has the number of its range among the notable ones.
fn lines(ranges: &[Range], cell_bits: u32) -> Vec<Item> {
    let shift = cell_bits + ROW_BITS;
    let mut items = Vec::new();
    let mut next = 0;
    for (number, range) in ranges.iter().enumerate() {
        let (mut row, last) = ((range.first >> shift).max(next), range.last >> shift);
        let whole_from = range.first.div_ceil(1 << shift).max(next);
        let whole_to = (range.last + 1) >> shift;
        while row <= last {
            if row == whole_from && whole_to.saturating_sub(row) >= BAR_ROWS {
                items.push(Item::Bar(number, row << shift, (whole_to << shift) - 1));
                row = whole_to;
            } else {
                items.push(Item::Row(row << shift));
                row += 1;
            }
        }
        next = row;
        if items.len() > MOST {
            break;
        }
    }
    items
}

fn with_gaps(space: &Space, mapped: &[Item], cell_bits: u32, last: u64) -> Vec<Item> {
    let mut items = Vec::new();
    let mut next = 0;
    for item in mapped {
        let (from, to) = match *item {
            Item::Bar(_, from, to) | Item::Gap(from, to) | Item::Reserved(_, from, to) => {
                (from, to)
            }
            Item::Row(from) => (from, from + ((ROW << cell_bits) - 1)),
        };
        gap(space, next, from, &mut items);
        items.push(*item);
        next = to + 1;
    }
    gap(space, next, last + 1, &mut items);
    items
}

/// Lines for the bus frames from `from` to just below `end`: one for each reserved range, and for
/// what lies between them.
fn gap(space: &Space, from: u64, end: u64, items: &mut Vec<Item>) {
    let mut next = from;
    for (number, reserved) in space.reserved.iter().enumerate() {
        let (first, last) = (reserved.first.max(next), reserved.last.min(end.saturating_sub(1)));
        if !reserved.enforced || first > last || next >= end {
            continue;
        }
        if next < first {
            items.push(Item::Gap(next, first - 1));
        }
        items.push(Item::Reserved(number, first, last));
        next = last + 1;
    }
    if next < end {
        items.push(Item::Gap(next, end - 1));
    }
}

#[cfg(test)]
mod tests {
    use pviommu_hypervisor::format::FormatKind;

    use super::*;
    use crate::iommu::Rights;
    use crate::show::entry::{Page, PageSize};
    use crate::show::ranges::What;
    use crate::show::reserved::Reserved;
    use crate::show::survey::Survey;

    fn space(mapped: impl IntoIterator<Item = (u64, u64)>) -> Space {
        let what =
            What::Page(Page::decode(FormatKind::VtdSecondStage, 0, PageSize::Small, Rights::ALL));
        let range = |(first, last)| Range { first, last, what, runs: 1 };
        let ranges = mapped.into_iter().map(range).collect();
        Space::new(Survey { ranges, frame_bits: 36, ..Survey::default() })
    }

    const END: u64 = (1 << 36) - 1;

    #[test]
    fn rows_hold_what_is_scattered_and_bars_what_is_long() {
        let space = space([(1, 1), (3, 70), (0x1010, 0x1fff), (0x2001, 0x2001)]);
        let expected = [
            Item::Row(0),
            Item::Row(64),
            Item::Gap(128, 0xfff),
            Item::Row(0x1000),
            Item::Bar(2, 0x1040, 0x1fff),
            Item::Row(0x2000),
            Item::Gap(0x2040, END),
        ];
        assert_eq!(Layout::of(&space), Layout { cell_bits: 0, items: expected.to_vec() });
    }

    #[test]
    fn a_reserved_range_in_a_gap_has_a_line_of_its_own() {
        let mut space = space([(0xfffff, 0xfffff)]);
        let msi = |enforced| Reserved {
            first: 0xfee00,
            last: 0xfeeff,
            kind: "msi",
            by: Vec::new(),
            enforced,
        };
        space.reserved = vec![msi(false), msi(true)];
        let expected = [
            Item::Gap(0, 0xfedff),
            Item::Reserved(1, 0xfee00, 0xfeeff),
            Item::Gap(0xfef00, 0xfffbf),
            Item::Row(0xfffc0),
            Item::Gap(0x10_0000, END),
        ];
        assert_eq!(Layout::of(&space).items, expected);
    }

    #[test]
    fn the_items_cover_the_whole_space_and_a_cell_grows_until_they_are_few() {
        for distance in [1, 100, 1000, 100_000] {
            let space = space((0..5000).map(|i| (i * distance + 7, i * distance + 7 + i % 2)));
            let Layout { cell_bits, items } = Layout::of(&space);
            let lines = items.iter().filter(|item| !matches!(item, Item::Gap(..))).count();
            assert!(lines <= MOST, "{lines} lines for pages {distance} apart");
            let mut next = 0;
            for item in items {
                let (from, to) = match item {
                    Item::Row(from) => (from, from + (ROW << cell_bits) - 1),
                    Item::Bar(_, from, to) | Item::Gap(from, to) | Item::Reserved(_, from, to) => {
                        (from, to)
                    }
                };
                assert_eq!(from, next);
                assert!(from <= to);
                next = to + 1;
            }
            assert_eq!(next, END + 1);
        }
    }
}
