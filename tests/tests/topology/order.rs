//! What groups do not depend on, and how they change when isolation does.

use pviommu_hypervisor::topology::Mode;
use pviommu_testbed::pci::{
    Capture, Name,
    random::{random, with_isolation_added, with_isolation_removed},
};

use crate::kit::groups;

const TOPOLOGIES: u64 = 3_000;

#[test]
fn groups_are_a_partition() {
    for seed in 0..TOPOLOGIES {
        let capture = random(seed);
        let mut members: Vec<_> = groups(&capture, Mode::Safe).into_iter().flatten().collect();
        members.sort_unstable();
        let mut all: Vec<_> = capture.functions.iter().map(|function| function.name).collect();
        all.sort_unstable();
        assert_eq!(members, all, "{}", capture.name);
    }
}

#[test]
fn the_order_in_which_functions_are_found_does_not_matter() {
    for seed in 0..TOPOLOGIES {
        let capture = random(seed);
        let mut other = capture.clone();
        other.functions.reverse();
        let middle = other.functions.len() / 2;
        other.functions.rotate_left(middle);
        for mode in [Mode::Safe, Mode::AsLinux] {
            assert_eq!(groups(&capture, mode), groups(&other, mode), "{}", capture.name);
        }
    }
}

/// True if each group of the first is part of one of the second.
fn is_finer(fine: &[Vec<Name>], coarse: &[Vec<Name>]) -> bool {
    fine.iter().all(|part| coarse.iter().any(|group| part.iter().all(|it| group.contains(it))))
}

type Groups = Vec<Vec<Name>>;

fn changed(change: impl Fn(&Capture, u64) -> Option<Capture>) -> Vec<(Groups, Groups)> {
    let seeds = 0..TOPOLOGIES;
    let pairs = seeds.filter_map(|seed| {
        let before = random(seed);
        let after = change(&before, seed)?;
        Some((groups(&before, Mode::Safe), groups(&after, Mode::Safe)))
    });
    pairs.collect()
}

#[test]
fn isolation_that_is_added_merges_no_groups() {
    let pairs = changed(with_isolation_added);
    assert!(pairs.iter().all(|(before, after)| is_finer(after, before)));
    assert!(pairs.iter().any(|(before, after)| before != after), "nothing was added that matters");
}

#[test]
fn isolation_that_is_taken_away_splits_no_groups() {
    let pairs = changed(with_isolation_removed);
    assert!(pairs.iter().all(|(before, after)| is_finer(before, after)));
    assert!(pairs.iter().any(|(before, after)| before != after), "nothing was taken that matters");
}
