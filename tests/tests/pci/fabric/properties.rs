//! What holds of every topology.

use pviommu_testbed::pci::fabric::{Assumptions, Fabric};
use pviommu_testbed::pci::random::{random, with_isolation_added, with_isolation_removed};
use pviommu_testbed::pci::{Capture, Kind, Name};

const TOPOLOGIES: u64 = 2000;

/// Every group of `fine` lies in one of `coarse`.
fn is_finer(fine: &[Vec<Name>], coarse: &[Vec<Name>]) -> bool {
    let inside = |group: &Vec<Name>| {
        let whole = coarse.iter().find(|other| other.contains(&group[0]));
        whole.is_some_and(|whole| group.iter().all(|member| whole.contains(member)))
    };
    fine.iter().all(inside)
}

fn groups(capture: &Capture) -> Vec<Vec<Name>> {
    Fabric::new(capture).groups()
}

#[test]
fn groups_are_a_partition_and_members_of_two_have_no_conflict() {
    for seed in 0..TOPOLOGIES {
        let capture = random(seed);
        let fabric = Fabric::new(&capture);
        let groups = fabric.groups();
        let mut members: Vec<Name> = groups.iter().flatten().copied().collect();
        members.sort_unstable();
        let names: Vec<Name> = capture.functions.iter().map(|f| f.name).collect();
        assert_eq!(members, names, "seed {seed}: each once");
        if seed >= TOPOLOGIES / 10 {
            continue;
        }
        for (at, group) in groups.iter().enumerate() {
            for (a, b) in group.iter().flat_map(|a| members.iter().map(move |b| (*a, *b))) {
                if !groups[at].contains(&b) {
                    assert_eq!(fabric.conflict(a, b), None, "seed {seed}: {a} and {b}");
                    assert!(!fabric.reaches(a, b), "seed {seed}: {a} to {b}");
                }
            }
        }
    }
}

#[test]
fn adding_isolation_never_merges_groups_and_removing_it_never_splits_them() {
    let (mut split, mut merged) = (0, 0);
    for seed in 0..TOPOLOGIES {
        let capture = random(seed);
        let before = groups(&capture);
        if let Some(changed) = with_isolation_added(&capture, seed) {
            assert_ne!(changed, capture);
            let after = groups(&changed);
            assert!(is_finer(&after, &before), "seed {seed}: added");
            split += u32::from(after != before);
        }
        if let Some(changed) = with_isolation_removed(&capture, seed) {
            assert_ne!(changed, capture);
            let after = groups(&changed);
            assert!(is_finer(&before, &after), "seed {seed}: removed");
            merged += u32::from(after != before);
        }
    }
    assert!(split > 50 && merged > 200, "{split} were split, {merged} merged: too few to tell");
}

#[test]
fn without_an_assumption_groups_are_never_wider() {
    for seed in 0..TOPOLOGIES / 4 {
        let capture = random(seed);
        let all = groups(&capture);
        let mut on = Assumptions::all();
        for off in Assumptions::all().iter() {
            let one_off = Fabric::with(&capture, Assumptions::all() - off).groups();
            assert!(is_finer(&one_off, &all), "seed {seed}: without {off:?}");
            let before = Fabric::with(&capture, on).groups();
            on -= off;
            let fewer = Fabric::with(&capture, on).groups();
            assert!(is_finer(&fewer, &before), "seed {seed}: {on:?} without {off:?}");
        }
    }
}

#[test]
fn the_order_of_functions_does_not_matter() {
    for seed in 0..TOPOLOGIES / 4 {
        let mut capture = random(seed);
        let before = groups(&capture);
        capture.functions.reverse();
        assert_eq!(groups(&capture), before, "seed {seed}");
    }
}

#[test]
fn random_topologies_have_everything_and_are_the_same_for_the_same_seed() {
    assert_eq!(random(7), random(7));
    let all: Vec<Capture> = (0..TOPOLOGIES).map(random).collect();
    let functions = || all.iter().flat_map(|capture| &capture.functions);
    for kind in [
        Kind::Conventional,
        Kind::Endpoint,
        Kind::LegacyEndpoint,
        Kind::RootPort,
        Kind::Upstream,
        Kind::Downstream,
        Kind::PcieToPci,
        Kind::PciToPcie,
        Kind::RootComplexEndpoint,
        Kind::EventCollector,
    ] {
        let of_kind = functions().filter(|f| f.kind == Some(kind)).count();
        assert!(of_kind > 300, "{of_kind} of {kind:?}");
    }
    let count = |is: &dyn Fn(&pviommu_testbed::pci::Captured) -> bool| {
        functions().filter(|f| is(f)).count()
    };
    assert!(count(&|f| f.virtual_function) > 500, "virtual functions");
    assert!(count(&|f| f.ari && f.name.slot() > 0) > 500, "functions above 7");
    assert!(count(&|f| f.phantom > 0) > 500, "phantom functions");
    assert!(count(&|f| f.vendor == 0x10b5) > 20, "devices with any id");
    assert!(count(&|f| f.kind.is_none()) > 200, "unknown kinds");
    assert!(count(&|f| f.acs == Some((0, 0))) > 200, "empty capabilities");
    let largest = all.iter().map(|capture| capture.functions.len()).max();
    assert!(largest.is_some_and(|most| (75..=110).contains(&most)), "{largest:?}");
    let groups: usize = all.iter().take(200).map(|capture| groups(capture).len()).sum();
    let members: usize = all.iter().take(200).map(|capture| capture.functions.len()).sum();
    assert!(groups * 4 > members && groups * 10 < members * 9, "{groups} of {members}");
}
