//! Changes of a machine, planned, dropped and kept.

use std::collections::BTreeSet;

use pviommu_abi::PciDevice;
use pviommu_hypervisor::topology::{
    Acs, AcsBits, Change as Planned, Firmware, Function, Mode, Node, Plan, Topology,
};

use super::{
    build,
    input::{ALLOWED, Change, KEEP, VIRTUAL, WHICH},
    snapshot::Snapshot,
};

/// What is asked for, with what it is made from.
#[derive(Debug)]
pub(super) enum Asked {
    Access(PciDevice, AcsBits),
    PeerToPeer(PciDevice, bool),
    Add(Vec<Function>),
    Remove(Vec<PciDevice>),
}

impl Asked {
    /// What `change` stands for among these functions.
    pub(super) fn of(change: &Change, functions: &[Function]) -> Option<Self> {
        let named =
            |number: u8| Some(functions[usize::from(number).checked_rem(functions.len())?].address);
        Some(match change.what & WHICH {
            0 => {
                let control = AcsBits::from_bits_retain(change.control.into());
                Self::Access(named(change.function)?, control)
            }
            1 => Self::PeerToPeer(named(change.function)?, change.what & ALLOWED != 0),
            2 => Self::Add(added(change, functions)),
            _ => {
                let other = Some(change.control).filter(|other| *other != 0);
                let all = [Some(change.function), other].into_iter().flatten();
                Self::Remove(all.map(named).collect::<Option<_>>()?)
            }
        })
    }

    fn plan(&self) -> Planned<'_> {
        match self {
            Self::Access(function, control) => {
                Planned::Access { function: *function, control: *control }
            }
            Self::PeerToPeer(below, allowed) => {
                Planned::PeerToPeer { below: *below, allowed: *allowed }
            }
            Self::Add(functions) => Planned::Add(functions),
            Self::Remove(functions) => Planned::Remove(functions),
        }
    }
}

/// The functions that come: on the bus of [`Change::function`], below it, or with the number they say.
fn added(change: &Change, functions: &[Function]) -> Vec<Function> {
    let beside = usize::from(change.function).checked_rem(functions.len()).map(|at| functions[at]);
    let make = |facts: &super::input::Facts| {
        let mut address = PciDevice { seg: 0, bus: facts.place, devfn: facts.devfn };
        if let Some(beside) = beside.filter(|_| change.control & 1 == 0) {
            address.seg = beside.address.seg;
            address.bus = match beside.secondary().filter(|_| change.control & 2 == 0) {
                Some(secondary) => secondary,
                None => beside.address.bus,
            };
        }
        let mut function = facts.function(address);
        if facts.has(VIRTUAL) {
            function.physical = beside.map(|it| it.address);
            function.traits.set(pviommu_hypervisor::topology::Traits::VIRTUAL, true);
        }
        function
    };
    change.added.iter().map(make).collect()
}

/// Plans a change, looks at the plan, and keeps or drops it; what came of it, in words.
pub(super) fn apply(
    topology: &mut Topology<'_>,
    change: &Change,
    asked: &Asked,
    (firmware, mode): (Firmware<'_>, Mode),
) -> String {
    let before = Snapshot::of(topology);
    let refused = topology.plan(asked.plan()).err();
    assert_eq!(Snapshot::of(topology), before, "after {asked:?} was dropped: {refused:?}");
    if let Some(error) = refused {
        return format!("refused: {error}");
    }
    let plan = topology.plan(asked.plan()).expect("it was planned before");
    let after = Snapshot::of(plan.topology());
    check_functions(&before, &after, &plan, asked);
    check_regrouped(&before, &after, &plan);
    if mode == Mode::Safe {
        check_direction(&before, &after, &plan);
    }
    if change.what & KEEP == 0 {
        drop(plan);
        assert_eq!(Snapshot::of(topology), before, "after {asked:?} was looked at and dropped");
        return "dropped".into();
    }
    plan.keep();
    assert_eq!(Snapshot::of(topology), after, "after {asked:?} was kept");
    let mut nodes: Vec<_> = after.functions.iter().rev().copied().map(Node::new).collect();
    let afresh = build(&mut nodes, firmware, mode).expect("such a machine there is");
    assert_eq!(Snapshot::of(&afresh), after, "built afresh after {asked:?}");
    "kept".into()
}

/// The functions are those that were asked for.
fn check_functions(before: &Snapshot, after: &Snapshot, plan: &Plan<'_, '_>, asked: &Asked) {
    let removed: BTreeSet<_> = plan.removed().map(|it| it.address.sbdf()).collect();
    let altered: BTreeSet<_> = plan.altered().map(|it| it.address.sbdf()).collect();
    let mut expected = before.functions.clone();
    match asked {
        Asked::Access(function, control) => {
            let of = expected.iter_mut().find(|it| it.address == *function).expect("it is there");
            let Acs::Present { capability, .. } = of.acs else {
                unreachable!("{function} has none")
            };
            of.acs = of.acs.with_control(*control & capability);
            assert!(altered.iter().eq([&function.sbdf()]), "altered by {asked:?}: {altered:x?}");
        }
        Asked::PeerToPeer(..) => {
            assert!(!altered.is_empty(), "{asked:?} alters nothing");
            for (old, new) in expected.iter_mut().zip(&after.functions) {
                if altered.contains(&old.address.sbdf()) {
                    assert!(new.kind.is_egress_port(), "{} is altered", new.address);
                    old.acs = new.acs;
                }
            }
        }
        Asked::Add(functions) => {
            expected.extend(functions);
            expected.sort_by_key(|it| it.address.sbdf());
        }
        Asked::Remove(functions) => {
            assert!(functions.iter().all(|it| removed.contains(&it.sbdf())), "{asked:?}");
            expected.retain(|it| !removed.contains(&it.address.sbdf()));
        }
    }
    assert_eq!(after.functions, expected, "the functions after {asked:?}");
    assert!(matches!(asked, Asked::Remove(_)) || removed.is_empty());
    for (function, change) in plan.writes() {
        assert!(altered.contains(&function.sbdf()));
        assert!(change.is_none_or(|it| it.set & it.clear == 0), "{function}: {change:?}");
    }
}

/// Those, and only those, are told whose group has other members.
fn check_regrouped(before: &Snapshot, after: &Snapshot, plan: &Plan<'_, '_>) {
    let told: BTreeSet<_> = plan.regrouped().map(|it| it.address.sbdf()).collect();
    let (old, new) = (before.members(), after.members());
    let true_ones: BTreeSet<_> = new
        .iter()
        .filter(|(it, members)| old.get(it) != Some(members))
        .map(|(it, _)| *it)
        .collect();
    assert_eq!(told, true_ones, "whose groups change");
    let touched = told.iter().copied().chain(plan.removed().map(|it| it.address.sbdf()));
    let first = { touched }.next().map(PciDevice::from_sbdf);
    assert_eq!(plan.in_the_way(|_| true), first, "who is in the way");
    assert_eq!(plan.in_the_way(|_| false), None, "nobody is in the way");
}

/// Isolation that is added merges nothing, and isolation that is taken away splits nothing.
fn check_direction(before: &Snapshot, after: &Snapshot, plan: &Plan<'_, '_>) {
    if before.functions.len() != after.functions.len() {
        return;
    }
    let pairs = || before.functions.iter().zip(&after.functions);
    let gains = pairs().any(|(old, new)| loses(new.acs, old.acs));
    let weakens = pairs().any(|(old, new)| loses(old.acs, new.acs));
    assert_eq!(plan.weakens(), weakens, "whether something isolates less");
    if !weakens {
        after.assert_finer(before, "isolation was only added");
    }
    if !gains {
        before.assert_finer(after, "isolation was only taken away");
    }
}

/// True if one of the four controls is on before and off after, or egress control on after only.
fn loses(before: Acs, after: Acs) -> bool {
    let control = |acs| match acs {
        Acs::Present { control, .. } => control,
        Acs::Absent | Acs::Unknown => AcsBits::empty(),
    };
    let (before, after) = (control(before), control(after));
    let off = (before & AcsBits::ISOLATION).difference(after);
    !off.is_empty() || after.difference(before).contains(AcsBits::EGRESS_CONTROL)
}
