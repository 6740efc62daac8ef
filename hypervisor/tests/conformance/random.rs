//! Random maps and unmaps, against a list of what is mapped.

use std::{collections::BTreeMap, ops::RangeInclusive};

use proptest::{prelude::*, test_runner::TestRunner};
use pviommu_hypervisor::{
    format::{Format, pages_at},
    platform::Access,
    table::{SplitPaid, Stop},
};

use super::rig::{Kind, Rig, every_kind};

#[derive(Clone, Copy, Debug)]
enum Op {
    Map { window: usize, at: u64, pages: u64, access: Access },
    Leaf { window: usize, at: u64, level: u8, access: Access, paid: bool },
    Unmap { window: usize, at: u64, pages: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let access = prop_oneof![Just(Access::READ), Just(Access::WRITE), Just(Access::all())];
    let place = || (0..3usize, 0..0x800u64);
    // Few pages most often, else more than a table.
    let pages = || prop_oneof![4 => 1..12u64, 1 => 1..1200u64];
    prop_oneof![
        3 => (place(), pages(), access.clone())
            .prop_map(|((window, at), pages, access)| Op::Map { window, at, pages, access }),
        1 => (place(), 1..=3u8, access, any::<bool>()).prop_map(
            |((window, at), level, access, paid)| Op::Leaf { window, at, level, access, paid }
        ),
        2 => (place(), pages()).prop_map(|((window, at), pages)| Op::Unmap { window, at, pages }),
    ]
}

/// What is mapped, page by page.
type List = BTreeMap<u64, (u64, Access)>;

/// Where the windows of the operations begin: at the bottom, around the middle, at the top.
fn bases<F: Format>(rig: &Rig<F>) -> [u64; 3] {
    let top = rig.pages();
    [0, (top / 2).saturating_sub(0x400), top.saturating_sub(0x800)]
}

fn apply<F: Format>(rig: &Rig<F>, list: &mut List, op: Op, frame: u64) {
    let within = |window: usize, at: u64| (bases(rig)[window] + at) % rig.pages();
    match op {
        Op::Map { window, at, pages, access } => {
            let at = within(window, at);
            let pages = pages.min(rig.pages() - at);
            let free = (at..at + pages).take_while(|bfn| !list.contains_key(bfn)).count() as u64;
            let stop = (free < pages).then_some(Stop::Occupied);
            assert_eq!(rig.map(at, frame, pages, access), (free, stop), "{op:?}");
            list.extend((0..free).map(|page| (at + page, (frame + page, access))));
        }
        Op::Leaf { window, at, level, access, paid } => {
            let level = level.min(*rig.leaf_levels().end());
            // Leaves of more than a few thousand pages are for the other tests.
            let size = pages_at::<F>(level);
            if level == 0 || size > 0x4000 {
                return;
            }
            let at = within(window, at) / size * size;
            let free = list.range(at..at + size).next().is_none();
            let paid = if paid { SplitPaid::Yes } else { SplitPaid::No };
            match rig.map_leaf(at, level, frame, access, paid) {
                Ok(()) => {
                    assert!(free, "{op:?}");
                    list.extend((0..size).map(|page| (at + page, (frame + page, access))));
                }
                // Empty tables may stay, and are in the way.
                Err(stop) => assert!(stop == Stop::NotALeaf || !free, "{op:?}: {stop:?}"),
            }
        }
        Op::Unmap { window, at, pages } => {
            let at = within(window, at);
            let Some((&first, _)) = list.range(at..at + pages).next() else { return };
            let here = (first..at + pages).take_while(|bfn| list.contains_key(bfn)).count() as u64;
            rig.unmap(first, here);
            list.retain(|bfn, _| !(first..first + here).contains(bfn));
        }
    }
}

fn compare<F: Format>(rig: &Rig<F>, list: &List) {
    for base in bases(rig) {
        for bfn in (base..base + 0xd00).filter(|bfn| *bfn < rig.pages()) {
            match list.get(&bfn) {
                Some((mfn, access)) => rig.is_mapped(bfn, *mfn, *access),
                None => rig.is_vacant(bfn),
            }
        }
    }
}

fn run<F: Format>(kind: Kind, ops: &[Op]) {
    let rig = Rig::<F>::new(kind);
    let mut list = List::new();
    for (frame, op) in (1..).map(|n| n << 21).zip(ops) {
        apply(&rig, &mut list, *op, frame);
    }
    compare(&rig, &list);
    while let Some((&first, _)) = list.first_key_value() {
        let all = (first..).take_while(|bfn| list.contains_key(bfn)).count() as u64;
        rig.unmap(first, all);
        list.retain(|bfn, _| !(first..first + all).contains(bfn));
    }
    rig.is_empty();
}

pub(crate) fn random_maps_and_unmaps_are_what_a_list_says<F: Format>(
    levels: RangeInclusive<u8>,
    leaves: u8,
) {
    let kinds: Vec<Kind> = every_kind(levels, leaves).collect();
    let ops = (proptest::sample::select(kinds), proptest::collection::vec(op(), 1..40));
    let config = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&ops, |(kind, ops)| {
        run::<F>(kind, &ops);
        Ok(())
    });
    checked.unwrap_or_else(|failed| panic!("{failed}"));
}
