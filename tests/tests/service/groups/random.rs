//! Whatever is asked in whatever order, and whatever is refused: what is of one group has one owner, unless
//! that risk was taken or the group has changed by itself.

use proptest::{collection::vec, option, prelude::*};
use pviommu_abi::{DomId, Errno, PciDevice};
use pviommu_hypervisor::{DefaultMap, Fate, NewGroup, ReassignError, Risks, Scope};
use pviommu_testbed::machine::{Bed, Config, Step, When};

use super::kit::{SORTED, config, stats};
use crate::kit::{GUEST, OTHER, with};

#[derive(Clone, Debug)]
enum Op {
    Assign(DomId),
    Unassign(DomId),
    Reassign(DomId, DomId),
    Accept(Risks),
    Approve,
    Restart,
    Plug,
    Unplug,
    Plan([Option<u32>; 4], bool),
    Change([Option<u32>; 4]),
}

/// What is done, to which device, and at which of its attachments it is refused.
type Act = (Op, PciDevice, Option<u64>);

fn act() -> impl Strategy<Value = Act> {
    let domain = || prop_oneof![Just(GUEST), Just(OTHER)];
    let groups = || proptest::array::uniform4(option::weighted(0.8, 0..2u32));
    let risks = prop_oneof![Just(Risks::SPLIT_GROUP), Just(Risks::empty())];
    let op = prop_oneof![
        6 => domain().prop_map(Op::Assign),
        4 => domain().prop_map(Op::Unassign),
        3 => (domain(), domain()).prop_map(|(from, to)| Op::Reassign(from, to)),
        3 => risks.prop_map(Op::Accept),
        3 => Just(Op::Approve),
        2 => Just(Op::Restart),
        1 => Just(Op::Plug),
        1 => Just(Op::Unplug),
        3 => (groups(), any::<bool>()).prop_map(|(groups, ends)| Op::Plan(groups, ends)),
        1 => groups().prop_map(Op::Change),
    ];
    (op, proptest::sample::select(&SORTED[..]), option::weighted(0.2, 1..4u64))
}

fn owners(bed: &Bed<'_>) -> [Option<DomId>; 4] {
    SORTED.map(|device| stats(bed, device).owner)
}

/// The places of the devices of the group of `at`.
fn members(bed: &Bed<'_>, at: usize) -> Vec<usize> {
    let group = stats(bed, SORTED[at]).group;
    let same = |other: &usize| {
        *other == at || group.is_some() && stats(bed, SORTED[*other]).group == group
    };
    (0..4).filter(same).collect()
}

/// Does it, and checks what it says against what has come of it.
fn run(bed: &Bed<'_>, (op, device, refused): &Act) {
    let iommu = bed.iommu();
    let at = SORTED.iter().position(|it| it == device).unwrap();
    let before = owners(bed);
    let new = |groups: &[Option<u32>; 4]| groups.map(NewGroup::new);
    if let Some(n) = refused {
        bed.schedule().set(Step::AttachRefused, When::Nth(*n));
    }
    match op {
        Op::Assign(domain) => {
            let alone = stats(bed, *device).risks.contains(Risks::SPLIT_GROUP);
            let given = bed.assign(*domain, *device);
            bed.schedule().clear();
            let gets = if alone { vec![at] } else { members(bed, at) };
            for (member, before) in before.into_iter().enumerate() {
                let gets = given.is_ok() && gets.contains(&member);
                let expected = if gets { Some(*domain) } else { before };
                assert_eq!(stats(bed, SORTED[member]).owner, expected, "{given:?}");
            }
            let tainted = members(bed, at).iter().any(|it| stats(bed, SORTED[*it]).tainted);
            assert!(!(tainted && given.is_ok()));
        }
        Op::Unassign(domain) => {
            let gone = bed.unassign(*domain, 0, *device);
            assert_eq!(gone.is_ok(), before[at] == Some(*domain), "{gone:?}");
            assert!(gone.is_err() || owners(bed)[at].is_none());
        }
        Op::Reassign(from, to) => match bed.reassign(*from, *to, *device) {
            Ok(()) => {
                assert_eq!(owners(bed)[at], Some(*to));
                for (before, after) in before.into_iter().zip(owners(bed)) {
                    let went = (before, after) == (Some(*from), Some(*to));
                    assert!(went || before == after, "{before:?} {after:?}");
                }
            }
            Err(ReassignError::Kept(_)) => assert_eq!(owners(bed), before),
            Err(ReassignError::Lost(errno)) => {
                assert_ne!(errno, Errno::EIO, "no unit has failed");
                assert_eq!(owners(bed)[at], None);
            }
            Err(other) => unreachable!("{other:?}"),
        },
        Op::Accept(risks) => {
            assert_eq!(iommu.accept_risks(*device, Scope::Device, *risks), Ok(()));
        }
        Op::Approve => {
            let owned = members(bed, at).iter().any(|it| before[*it].is_some());
            assert_eq!(iommu.approve(*device), if owned { Err(Errno::EBUSY) } else { Ok(()) });
        }
        Op::Restart => {
            let tainted = stats(bed, *device).tainted;
            assert_eq!(iommu.restart(*device), if tainted { Err(Errno::EBADF) } else { Ok(()) });
        }
        Op::Plug => drop(iommu.plug(*device)),
        Op::Unplug => drop(iommu.unplug(*device)),
        Op::Plan(groups, ends) => {
            let mut groups = new(groups);
            if let Ok(change) = iommu.begin_regroup(&mut groups) {
                let owned = |device| stats(bed, device).owner.is_some();
                assert!(!change.changes().any(owned), "of an owner");
                if *ends {
                    assert_eq!(change.finish(), Ok(()));
                }
            }
        }
        Op::Change(groups) => {
            let mut groups = new(groups);
            let count = iommu.group_changed(&mut groups).unwrap();
            let worse = |it: &&NewGroup| matches!(it.fate(), Fate::Tainted | Fate::Stopped);
            assert_eq!(groups.iter().filter(worse).count(), count);
        }
    }
    bed.schedule().clear();
}

/// Two owners of one group know of it, or some of it has been tainted and does no DMA.
fn check(bed: &Bed<'_>) {
    for at in 0..4 {
        for other in members(bed, at) {
            let pair = [at, other].map(|it| stats(bed, SORTED[it]));
            let owners = pair.map(|it| it.owner);
            let apart = owners[0] != owners[1] && owners.iter().all(Option::is_some);
            let cut_off = pair.iter().all(|it| it.tainted && it.stopped);
            assert!(!apart || cut_off || pair.iter().all(|it| it.alone), "{pair:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_group_has_two_owners_that_do_not_know_of_it(acts in vec(act(), 1..40)) {
        let config: Config = config().with_default_map(DefaultMap::Guest);
        with(&config, |vm| {
            for act in &acts {
                run(vm.bed, act);
                check(vm.bed);
            }
            assert_eq!(vm.bed.teardown(OTHER, 0), 0);
            vm.end();
        });
    }
}
