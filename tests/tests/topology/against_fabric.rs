//! Safe groups against a fabric that sends requests: never finer than what is reached, and never coarser
//! but for what is assumed on purpose.

use pviommu_hypervisor::topology::Mode;
use pviommu_testbed::pci::{
    Capture, Name,
    fabric::{Assumptions, Fabric},
    random::random,
};

use crate::kit::{COMPLETE, captures, groups};

/// What the service assumes on purpose: all that a cautious operator would, except that a vendor who names
/// some of its ports says nothing against the capability of another.
fn assumed() -> Assumptions {
    Assumptions::all() - Assumptions::VENDORS_DENIAL
}

fn check(capture: &Capture) {
    let ours = groups(capture, Mode::Safe);
    let truth = Fabric::with(capture, assumed()).groups();
    if ours != truth {
        let differs = |one: &[Vec<Name>], other: &[Vec<Name>]| {
            let only = one.iter().filter(|group| !other.contains(group));
            only.map(|group| group.iter().map(Name::to_string).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        panic!(
            "{}:\n  ours only {:#?}\n  by requests {:#?}",
            capture.name,
            differs(&ours, &truth),
            differs(&truth, &ours)
        );
    }
}

/// INV-46: no function reaches one of another group, or is taken for it, in any topology that is known.
#[test]
fn safe_groups_of_all_captures_are_what_requests_can_reach() {
    for file in COMPLETE.into_iter().chain(["real-partial.json.gz"]) {
        captures(file).iter().for_each(check);
    }
}

/// INV-46: nor in 10 000 that are made up.
#[test]
fn safe_groups_of_random_topologies_are_what_requests_can_reach() {
    (0..10_000).for_each(|seed| check(&random(seed)));
}

/// Without any of the assumptions the truth is finer, and safe groups hold all of it.
#[test]
fn safe_groups_hold_what_the_letter_of_the_specification_lets_through() {
    for seed in 0..2_000 {
        let capture = random(seed);
        let ours = groups(&capture, Mode::Safe);
        let truth = Fabric::with(&capture, Assumptions::empty()).groups();
        for group in truth {
            let held = ours.iter().any(|ours| group.iter().all(|name| ours.contains(name)));
            assert!(held, "{}: {group:?} is in several groups", capture.name);
        }
    }
}

/// Each assumption makes some groups larger: none is for nothing.
#[test]
fn each_assumption_is_why_some_topology_has_larger_groups() {
    for assumption in assumed().iter() {
        let matters = (0..2_000).map(random).any(|capture| {
            let milder = Fabric::with(&capture, assumed() - assumption).groups();
            milder != Fabric::with(&capture, assumed()).groups()
        });
        assert!(matters, "{assumption:?}");
    }
}
