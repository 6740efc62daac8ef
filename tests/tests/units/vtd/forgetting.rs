//! What a unit is told to forget.

use proptest::prelude::*;
use pviommu_hypervisor::{
    platform::{Invalidation, Tag},
    unit::{
        Driver,
        vtd::{Quirks, Settings},
    },
};
use pviommu_testbed::hardware::vtd::{Act, Config, Outcome, global::WBF};

use super::kit::{Driven, Rig, TAG, range, root, settings, source, through, up};

/// Descriptors that were carried out since this was asked last.
fn told(rig: &Rig) -> Vec<[u64; 2]> {
    let descriptor = |act| if let Act::Descriptor(words) = act { Some(words) } else { None };
    rig.unit.take_acts().into_iter().filter_map(descriptor).collect()
}

/// Golden words, put together by hand from section 6.5.2.
#[test]
fn invalidations_name_the_domain_the_pages_and_all_drains() {
    let (rig, driver) = up(Config::SERVER);
    let cases: [(_, &[[u64; 2]]); 6] = [
        (Invalidation::Everything, &[[0x0007_00e2, 0]]),
        (Invalidation::Leaves(range(0x12340, 0x1234f)), &[[0x0007_00f2, 0x1234_0044]]),
        (Invalidation::Tables(range(0x12340, 0x1234f)), &[[0x0007_00f2, 0x1234_0004]]),
        (
            Invalidation::Tables(range(0x7ff, 0x800)),
            &[[0x0007_00f2, 0x7f_f000], [0x0007_00f2, 0x80_0000]],
        ),
        // Longer than two of the longest blocks, and beyond what the unit can be asked for.
        (Invalidation::Leaves(range(0, 0x400)), &[[0x0007_00e2, 0]]),
        (Invalidation::Leaves(range(1 << 36, 1 << 36)), &[[0x0007_00e2, 0]]),
    ];
    for (what, words) in cases {
        driver.invalidate(TAG, what).unwrap();
        assert_eq!(told(&rig), words, "{what:?}");
    }
    rig.clean();
}

#[test]
fn a_unit_that_cannot_or_should_not_forget_pages_forgets_domains() {
    let cannot = Rig::new(Config::SERVER.without_cap(Config::PAGE_SELECTIVE | Config::DRAINING));
    let should_not = Rig::new(Config::SERVER);
    let quirks = Quirks::NO_PAGE_SELECTIVE;
    let drivers = [cannot.up(), should_not.up_with(Settings { quirks, ..settings() })];
    for (rig, driver, word) in
        [(cannot, &drivers[0], 0x0007_0022), (should_not, &drivers[1], 0x0007_00e2)]
    {
        driver.invalidate(TAG, Invalidation::Leaves(range(5, 5))).unwrap();
        assert_eq!(told(&rig), [[word, 0]]);
        rig.clean();
    }
}

/// INV-09: what a device could reach is forgotten when the entry is, by the tag it was cached under.
#[test]
fn an_entry_that_changes_is_forgotten_by_its_old_tag_and_then_what_was_found_by_it() {
    let (rig, driver) = up(Config::SERVER);
    driver.attach(source(0x0310), root(0x123), TAG).unwrap();
    assert_eq!(told(&rig), [[0; 2]; 0], "nothing was cached");
    assert_eq!(rig.read(0x0310, 5), through(0x123, TAG));
    driver.attach(source(0x0310), root(0x456), Tag(8)).unwrap();
    assert_eq!(told(&rig), [[0x0310_0007_0031, 0], [0x0007_00e2, 0]]);
    assert_eq!(rig.read(0x0310, 5), through(0x456, Tag(8)));
    assert!(!rig.unit.in_flight(0x123 << 12), "drained");
    driver.block(source(0x0310)).unwrap();
    assert_eq!(told(&rig), [[0x0310_0008_0031, 0], [0x0008_00e2, 0]]);
    assert_eq!(rig.read(0x0310, 5), Outcome::Refused(2));
    assert!(!rig.unit.in_flight(0x456 << 12), "drained");
    rig.clean();
}

/// Section 6.1: that nothing was there is cached under domain 0.
#[test]
fn what_was_not_there_is_forgotten_if_it_may_be_cached() {
    let (rig, driver) = up(Config::SERVER.with_cap(Config::CACHING_MODE));
    assert_eq!(rig.read(0x0310, 5), Outcome::Refused(1));
    driver.attach(source(0x0310), root(0x123), TAG).unwrap();
    assert_eq!(told(&rig), [[0x0310_0000_0031, 0], [0x0007_00e2, 0]]);
    assert_eq!(rig.read(0x0310, 5), through(0x123, TAG));
    rig.unit.set_hole(0x123 << 12, 6, true);
    assert_eq!(rig.read(0x0310, 6), Outcome::Refused(6));
    rig.unit.set_hole(0x123 << 12, 6, false);
    assert_eq!(rig.read(0x0310, 6), Outcome::Refused(6), "cached");
    driver.sync_map(TAG, range(6, 6)).unwrap();
    assert_eq!(told(&rig), [[0x0007_00f2, 0x6000]]);
    assert_eq!(rig.read(0x0310, 6), through(0x123, TAG));
    rig.clean();
}

#[test]
fn a_write_buffer_is_flushed_for_what_was_not_there() {
    let (rig, driver) = up(Config::SERVER.with_cap(Config::WRITE_BUFFER));
    driver.attach(source(0x0310), root(0x123), TAG).unwrap();
    assert_eq!(rig.unit.take_acts(), [Act::Once(WBF)]);
    assert_eq!(rig.read(0x0310, 5), through(0x123, TAG));
    driver.sync_map(TAG, range(6, 6)).unwrap();
    assert_eq!(rig.unit.take_acts(), [Act::Once(WBF)]);
    rig.clean();
}

#[test]
fn new_pages_need_nothing_if_nothing_of_them_is_cached_or_buffered() {
    let (rig, driver) = up(Config::SERVER);
    driver.sync_map(TAG, range(6, 6)).unwrap();
    assert_eq!(rig.unit.take_acts(), []);
}

/// A unit whose walks do not snoop sees what was written back, and nothing else.
#[test]
fn entries_are_written_back_before_they_count() {
    let rig = Rig::new(Config::QEMU);
    let driver = rig.up();
    for id in [0x0310, 0x03ff, 0x0400] {
        driver.attach(source(id), root(0x123), TAG).unwrap();
        assert_eq!(rig.read(id, 5), through(0x123, TAG));
    }
    driver.block(source(0x0310)).unwrap();
    driver.stop(source(0x03ff));
    assert_eq!(rig.read(0x0310, 5), Outcome::Refused(2));
    assert_eq!(rig.read(0x03ff, 5), Outcome::Refused(2));
    driver.restart(source(0x03ff));
    assert_eq!(rig.read(0x03ff, 5), through(0x123, TAG));
    rig.clean();
}

/// First and last page that a descriptor names, and if tables on the way are kept.
fn block([low, high]: [u64; 2]) -> (u64, u64, bool) {
    assert_eq!(low & !0xf0, 0x0007_0002, "the tag, and nothing else");
    match low >> 4 & 3 {
        2 => (0, u64::MAX, false),
        3 => {
            let pages = 1 << (high & 0x3f);
            let first = high >> 12;
            assert_eq!(first % pages, 0, "aligned");
            (first, first + pages - 1, high & 0x40 != 0)
        }
        other => panic!("granularity {other}"),
    }
}

fn warm(rig: &Rig, driver: &Driven, pages: &[u64]) {
    driver.attach(source(1), root(0x123), TAG).unwrap();
    driver.attach(source(2), root(0x456), Tag(8)).unwrap();
    for page in pages {
        for id in [1, 2] {
            assert!(matches!(rig.read(id, *page), Outcome::Landed(_)));
        }
    }
    rig.unit.take_acts();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// INV-09, INV-10.
    #[test]
    fn whatever_is_forgotten_is_all_of_it_and_nothing_of_another_tag(
        first in prop_oneof![0u64..1 << 36, 0u64..0x2000],
        more in prop_oneof![0u64..4, 0u64..0x800, 0u64..1 << 30],
        leaves: bool,
        config in prop::sample::select(vec![Config::SERVER, Config::QEMU]),
    ) {
        let last = (first + more).min((1 << 36) - 1);
        let pages = [first, last, first + (last - first) / 2, first + (last - first) / 3];
        let (rig, driver) = up(config);
        warm(&rig, &driver, &pages);
        let asked = range(first, last);
        let what = if leaves { Invalidation::Leaves(asked) } else { Invalidation::Tables(asked) };
        driver.invalidate(TAG, what).unwrap();
        let blocks: Vec<_> = told(&rig).into_iter().map(block).collect();
        prop_assert!((1..=2).contains(&blocks.len()));
        let mut next = first;
        for (begin, end, hint) in &blocks {
            prop_assert!(*begin <= next, "a gap before {begin:x}");
            prop_assert!(leaves || !hint, "tables may have changed");
            next = end.saturating_add(1);
        }
        prop_assert!(next > last, "{blocks:x?}");
        for page in pages {
            let (leaf, way) = rig.unit.holds(7, page);
            prop_assert!(!leaf && (leaves || !way));
            prop_assert_eq!(rig.unit.holds(8, page), (true, true));
        }
        prop_assert!(!rig.unit.in_flight(0x123 << 12), "drained");
        prop_assert_eq!(rig.unit.violations(), vec![]);
    }
}
