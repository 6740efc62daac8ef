//! One row of cells: what each stands for, and the runs of cells that look the same.

use super::layout::ROW;
use super::style;
use crate::show::entry::{Page, PageSize};
use crate::show::picture::Space;
use crate::show::ranges::{Range, What};
use crate::show::reserved::Reserved;

/// Cells that follow each other and look the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Run {
    /// The first cell.
    pub(super) at: u64,
    /// How many.
    pub(super) cells: u64,
    /// How they look.
    pub(super) look: Look,
}

/// How a cell looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Pages.
    Pages {
        /// The class of most of them.
        class: String,
        /// The quarters of the cell that they fill, rounded up; 4 only if they fill it.
        quarters: u64,
        /// They are larger than the row is high, so cells have no gaps.
        large: bool,
    },
    /// An entry that no unit accepts.
    Broken,
    /// Reserved, and not mapped.
    Reserved,
    /// The scratch page.
    Scratch,
}

/// The runs of the row from `first` on with cells of 2^`cell_bits` bus frames; what faults is in
/// none. Also the bus frames that are mapped.
pub(super) fn row(space: &Space, first: u64, cell_bits: u32) -> (Vec<Run>, u64) {
    let width = 1 << cell_bits;
    let row_last = first + (ROW * width - 1);
    let from = space.ranges.partition_point(|range| range.last < first);
    let ranges = space.ranges.iter().skip(from).take_while(|range| range.first <= row_last);
    let ranges: Vec<&Range> = ranges.collect();
    let mut runs: Vec<Run> = Vec::new();
    for at in 0..ROW {
        let left = first + at * width;
        let Some(look) = look(space, &ranges, left, left + (width - 1)) else { continue };
        match runs.last_mut() {
            Some(run) if run.at + run.cells == at && run.look == look => run.cells += 1,
            _ => runs.push(Run { at, cells: 1, look }),
        }
    }
    let mapped = ranges.iter().filter(|range| range.pages().is_some());
    (runs, mapped.map(|range| range.common(first, row_last)).sum())
}

/// How the cell of the bus frames `first..=last` looks; `None` if all of it faults.
fn look(space: &Space, ranges: &[&Range], first: u64, last: u64) -> Option<Look> {
    let from = ranges.partition_point(|range| range.last < first);
    let mut most: Option<(Page, u64)> = None;
    let (mut mapped, mut scratch) = (0, 0);
    for range in ranges.iter().skip(from).take_while(|range| range.first <= last) {
        let common = range.common(first, last);
        match range.what {
            What::Broken => return Some(Look::Broken),
            What::Scratch => scratch += common,
            What::Page(page) => {
                mapped += common;
                if most.is_none_or(|(_, frames)| frames < common) {
                    most = Some((page, common));
                }
            }
        }
    }
    if let Some((page, _)) = most {
        let (class, large) = (style::class(&page), page.size != PageSize::Small);
        let width = last - first + 1;
        // Rounded up, but what is not whole does not look whole.
        let quarters = if mapped == width { 4 } else { (mapped / width.div_ceil(4) + 1).min(3) };
        return Some(Look::Pages { class, quarters, large });
    }
    let taken = |r: &Reserved| r.enforced && r.first <= last && first <= r.last;
    if space.reserved.iter().any(taken) {
        return Some(Look::Reserved);
    }
    (scratch > 0).then_some(Look::Scratch)
}

#[cfg(test)]
mod tests {
    use pviommu_hypervisor::format::FormatKind;

    use super::*;
    use crate::iommu::Rights;
    use crate::show::survey::Survey;

    #[test]
    fn cells_that_look_the_same_make_one_run() {
        let what = What::Page(Page::decode(
            FormatKind::VtdSecondStage,
            2 << 52,
            PageSize::Small,
            Rights::ALL,
        ));
        let range = |first, last, what| Range { first, last, what, runs: 1 };
        let ranges = vec![
            range(64, 66, what),
            range(67, 67, What::Broken),
            range(68, 80, What::Scratch),
            range(100, 1000, what),
        ];
        let mut space = Space::new(Survey { ranges, frame_bits: 36, ..Survey::default() });
        space.reserved =
            vec![Reserved { first: 80, last: 90, kind: "msi", by: Vec::new(), enforced: true }];
        let (runs, mapped) = row(&space, 64, 0);
        let places: Vec<(u64, u64)> = runs.iter().map(|run| (run.at, run.cells)).collect();
        assert_eq!(places, [(0, 3), (3, 1), (4, 12), (16, 11), (36, 28)]);
        assert_eq!(mapped, 3 + 28);
        let pages = |quarters| Look::Pages { class: "rw4k".to_owned(), quarters, large: false };
        assert_eq!((&runs[0].look, &runs[1].look), (&pages(4), &Look::Broken));
        assert_eq!((&runs[2].look, &runs[3].look), (&Look::Scratch, &Look::Reserved));
        let (coarse, _) = row(&space, 0, 6);
        assert_eq!((coarse[0].at, &coarse[0].look), (1, &Look::Broken));
        let (coarse, _) = row(&space, 0, 5);
        assert_eq!((coarse[1].at, &coarse[1].look), (3, &pages(3)));
        assert_eq!((coarse[2].at, &coarse[2].look), (4, &pages(4)));
    }
}
