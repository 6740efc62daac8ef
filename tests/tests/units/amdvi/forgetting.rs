//! What the unit is told to forget, and that it is asked for before anybody relies on it.

use proptest::prelude::*;
use pviommu_abi::Bfn;
use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{Invalidation, Tag},
    unit::Driver,
};
use pviommu_testbed::hardware::amdvi::{Command, Unit, Verdict};

use super::kit::{TAG, root, source, through, unit, up};

/// What was done, without the waits; each call ends with one.
fn told(unit: &Unit) -> Vec<Command> {
    let done = unit.take_done();
    assert!(matches!(done.last(), Some(Command::Wait { .. })), "{done:?}");
    done.into_iter().filter(|it| !matches!(it, Command::Wait { .. })).collect()
}

#[test]
fn a_device_goes_through_its_new_table_when_attach_returns() {
    let unit = unit();
    let driver = up(&unit);
    assert_eq!(unit.request(3, 1), Verdict::Refused, "and now that is cached");
    driver.attach(source(3), root(0x10), TAG).unwrap();
    assert_eq!(told(&unit), [Command::ForgetDevice(3)]);
    assert_eq!(unit.request(3, 1), through(0x10));
    driver.attach(source(3), root(0x20), Tag(8)).unwrap();
    assert_eq!(unit.request(3, 1), through(0x20));
    driver.block(source(3)).unwrap();
    assert_eq!(unit.request(3, 1), Verdict::Refused);
    assert_eq!(told(&unit), [Command::ForgetDevice(3), Command::ForgetDevice(3)]);
    assert_eq!(unit.mistakes(), []);
}

/// So the service gives a tag a new table only after that was invalidated.
#[test]
fn the_former_tag_is_not_invalidated() {
    let unit = unit();
    let driver = up(&unit);
    driver.attach(source(3), root(0x10), TAG).unwrap();
    assert_eq!(unit.request(3, 1), through(0x10));
    driver.attach(source(3), root(0x20), TAG).unwrap();
    assert_eq!(unit.request(3, 1), through(0x10), "the old domain is still hit");
    driver.invalidate(Tag(8), Invalidation::Everything).unwrap();
    assert_eq!(unit.request(3, 1), through(0x10), "of another tag");
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    assert_eq!(unit.request(3, 1), through(0x20));
}

#[test]
fn tables_and_what_became_present_are_forgotten_with_the_way_to_them() {
    let unit = unit();
    let driver = up(&unit);
    let range = BfnRange::single(Bfn(9));
    driver.invalidate(TAG, Invalidation::Leaves(range)).unwrap();
    driver.invalidate(TAG, Invalidation::Tables(range)).unwrap();
    driver.sync_map(TAG, range).unwrap();
    let pages = |tables| Command::ForgetPages { tag: TAG, first: 9, last: 9, tables };
    assert_eq!(told(&unit), [pages(false), pages(true), pages(true)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Linux shipped the size wrong once.
    #[test]
    fn what_is_forgotten_holds_what_was_asked_for_and_is_the_least_block(
        first in 0u64..1 << 45,
        shift in 0u32..45,
        length in 0u64..1 << 20,
        tables: bool,
    ) {
        let unit = unit();
        let driver = up(&unit);
        let first = first >> shift;
        let range = BfnRange::new(Bfn(first), Bfn(first + length)).unwrap();
        let what = if tables { Invalidation::Tables(range) } else { Invalidation::Leaves(range) };
        driver.invalidate(TAG, what).unwrap();
        let told = told(&unit);
        let [Command::ForgetPages { tag: TAG, first: from, last: to, tables: way }] = told[..] else {
            return Err(TestCaseError::fail(format!("{told:?}")));
        };
        prop_assert_eq!(way, tables);
        prop_assert!(from <= first && first + length <= to);
        let differ = first ^ (first + length);
        let least = if differ == 0 { 0 } else { u64::MAX >> differ.leading_zeros() };
        let plain = first + length < 1 << 39;
        let expected = if plain { (first & !least, first | least) } else { (0, u64::MAX) };
        prop_assert_eq!((from, to), expected);
    }
}
