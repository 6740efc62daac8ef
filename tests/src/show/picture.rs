//! What there is to draw: every address space with its ranges, and what they add up to.

use serde::Serialize;

use super::entry::{Access, Origin, PageSize};
use super::format::Format;
use super::ranges::{Range, What};
use super::reserved::Reserved;
use super::survey::{Level, Survey};
use crate::trace::DomainId;

/// The address spaces of a trace at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Picture {
    /// The name of the trace.
    pub name: String,
    /// What was traced.
    pub what: String,
    /// Maps and unmaps that were replayed.
    pub operations: u64,
    /// Maps and unmaps that the trace has.
    pub of: u64,
    /// The address spaces, in the order of the trace's domains.
    pub spaces: Vec<Space>,
}

/// One address space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Space {
    /// The domain of the trace.
    pub domain: DomainId,
    /// The context it is.
    pub context: u16,
    /// The functions in it, each with its driver.
    pub devices: Vec<String>,
    /// The format of the tables.
    pub format: Format,
    /// Bits of a bus frame number.
    pub frame_bits: u32,
    /// What is mapped, in numbers.
    pub totals: Totals,
    /// The tables, from the root down. None if no device entry leads to the root.
    pub tables: Vec<Level>,
    /// Reserved ranges, from low to high.
    pub reserved: Vec<Reserved>,
    /// What the tables say, from low to high; what is in no range faults.
    pub ranges: Vec<Range>,
}

/// How much there is of each kind.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Totals {
    /// Pages, whatever their size.
    pub pages: u64,
    /// Pages of each size there is.
    pub sizes: Vec<(PageSize, u64)>,
    /// Pages of each access there is.
    pub access: Vec<(Access, u64)>,
    /// Pages of each origin there is.
    pub origins: Vec<(Origin, u64)>,
    /// Pages whose leaves force snooping.
    pub snooped: u64,
    /// Bus frames that are mapped.
    pub mapped: u64,
    /// Bus frames that hit the scratch page.
    pub scratch: u64,
    /// Bus frames whose entries no unit accepts.
    pub broken: u64,
    /// Bus frames that fault because nothing is there.
    pub fault: u64,
}

impl Space {
    /// An address space with this table.
    #[must_use]
    pub fn new(survey: Survey) -> Self {
        let Survey { ranges, tables, frame_bits, format } = survey;
        let totals = Totals::of(&ranges, 1 << frame_bits);
        Self {
            domain: 0,
            context: 0,
            devices: Vec::new(),
            format,
            frame_bits,
            totals,
            tables,
            reserved: Vec::new(),
            ranges,
        }
    }

    /// The ranges that are not background.
    pub fn notable(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(|range| range.what != What::Scratch)
    }

    /// Bus frames that nobody mapped hit a scratch page.
    #[must_use]
    pub const fn has_scratch(&self) -> bool {
        self.totals.scratch > 0
    }
}

impl Totals {
    /// The sums over `ranges` in an address space of `space` bus frames.
    #[must_use]
    pub fn of(ranges: &[Range], space: u64) -> Self {
        let pages = || ranges.iter().filter_map(Range::pages);
        let frames = |wanted: fn(&What) -> bool| -> u64 {
            ranges.iter().filter(|range| wanted(&range.what)).map(Range::frames).sum()
        };
        let mapped = frames(|what| matches!(what, What::Page(_)));
        let scratch = frames(|what| *what == What::Scratch);
        let broken = frames(|what| *what == What::Broken);
        Self {
            pages: pages().map(|(_, count)| count).sum(),
            sizes: tally(&PageSize::ALL, pages().map(|(page, count)| (page.size, count))),
            access: tally(&Access::ALL, pages().map(|(page, count)| (page.access, count))),
            origins: tally(&Origin::ALL, pages().map(|(page, count)| (page.origin, count))),
            snooped: pages().filter(|(page, _)| page.snoop).map(|(_, count)| count).sum(),
            mapped,
            scratch,
            broken,
            fault: space - mapped - scratch - broken,
        }
    }
}

/// How often each of `kinds` is counted, without those that are not.
fn tally<K: Copy + PartialEq>(
    kinds: &[K],
    counts: impl Iterator<Item = (K, u64)> + Clone,
) -> Vec<(K, u64)> {
    let sum = |kind: &K| {
        counts.clone().filter(|(its, _)| its == kind).map(|(_, count)| count).sum::<u64>()
    };
    kinds.iter().map(|kind| (*kind, sum(kind))).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use pviommu_hypervisor::format::FormatKind;

    use super::*;
    use crate::iommu::Rights;
    use crate::show::entry::Page;

    #[test]
    fn every_bus_frame_counts_once() {
        let page =
            |size| What::Page(Page::decode(FormatKind::VtdSecondStage, 2 << 52, size, Rights::ALL));
        let range = |first, last, what| Range { first, last, what, runs: 1 };
        let ranges = [
            range(0, 99, What::Scratch),
            range(100, 102, page(PageSize::Small)),
            range(512, 1535, page(PageSize::Large)),
            range(1536, 1536, What::Broken),
        ];
        let totals = Totals::of(&ranges, 1 << 11);
        assert_eq!(totals.pages, 5);
        assert_eq!(totals.sizes, [(PageSize::Small, 3), (PageSize::Large, 2)]);
        assert_eq!(totals.origins, [(Origin::Guest, 5)]);
        assert_eq!((totals.mapped, totals.scratch, totals.broken), (1027, 100, 1));
        assert_eq!(totals.mapped + totals.scratch + totals.broken + totals.fault, 1 << 11);
    }
}
