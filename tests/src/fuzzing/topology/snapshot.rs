//! The groups of a machine, copied, and what must hold of any.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    platform::SourceId,
    topology::{BringUp, Function, Mode, Reason, Topology, enabling},
};

/// What a topology says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Snapshot {
    pub(super) functions: Vec<Function>,
    /// The members of each group.
    pub(super) groups: Vec<Vec<u32>>,
    /// What ties them.
    ties: Vec<(u32, u32, Reason, Option<u32>)>,
    /// For each function the first of those that move with it.
    moves: Vec<u32>,
}

impl Snapshot {
    /// Looks at all of it; groups are a partition, and ties connect each.
    pub(super) fn of(topology: &Topology<'_>) -> Self {
        let functions: Vec<_> = topology.functions().copied().collect();
        let (mut groups, mut ties) = (Vec::new(), Vec::new());
        for group in topology.groups() {
            let members: Vec<_> = group.members().map(|it| it.address.sbdf()).collect();
            assert_eq!(members.first(), Some(&group.number()), "a group has its first's number");
            assert_eq!(members.len(), group.size() as usize, "the size of group {members:x?}");
            assert!(members.is_sorted_by(|a, b| a < b), "the order of group {members:x?}");
            let _ = group.is_translated();
            let own = group.ties().map(|tie| {
                assert_shown(&tie);
                let witness = tie.witness.map(|it| it.address.sbdf());
                (tie.one.address.sbdf(), tie.other.address.sbdf(), tie.reason, witness)
            });
            let own: Vec<_> = own.collect();
            assert_connected(&members, &own);
            groups.push(members);
            ties.extend(own);
        }
        let mut members: Vec<_> = groups.iter().flatten().copied().collect();
        members.sort_unstable();
        let all: Vec<_> = functions.iter().map(|it| it.address.sbdf()).collect();
        assert_eq!(members, all, "each function is in one group");
        let moves = all.iter().map(|it| {
            let first = topology.moves_with(PciDevice::from_sbdf(*it));
            first.expect("it is listed").sbdf()
        });
        let moves = moves.collect();
        Self { functions, groups, ties, moves }
    }

    /// The number of the group of each function.
    pub(super) fn numbers(&self) -> BTreeMap<u32, u32> {
        let of = |group: &Vec<u32>| {
            let number = group[0];
            group.clone().into_iter().map(move |it| (it, number))
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// The members of the group of each function.
    pub(super) fn members(&self) -> BTreeMap<u32, &[u32]> {
        self.groups.iter().flat_map(|group| group.iter().map(|it| (*it, &group[..]))).collect()
    }

    /// Panics unless each group lies in one of `coarse`.
    pub(super) fn assert_finer(&self, coarse: &Self, why: &str) {
        let numbers = coarse.numbers();
        for group in &self.groups {
            let one = group.iter().all(|it| numbers.get(it) == numbers.get(&group[0]));
            assert!(one, "{why}, and group {group:x?} was not one");
        }
    }
}

/// One tie less than members, and from each to each.
fn assert_connected(members: &[u32], ties: &[(u32, u32, Reason, Option<u32>)]) {
    assert_eq!(ties.len() + 1, members.len(), "ties of group {members:x?}");
    let mut parts: BTreeMap<u32, u32> = members.iter().map(|it| (*it, *it)).collect();
    for (one, other, reason, _) in ties {
        let (a, b) = (parts[one], parts[other]);
        assert_ne!(a, b, "{one:x} and {other:x} are tied by something else already: {reason:?}");
        parts.values_mut().filter(|it| **it == b).for_each(|it| *it = a);
    }
}

/// Panics unless it can be shown, and is something then; without room for it.
fn assert_shown(it: &dyn fmt::Display) {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut count = Count(0);
    assert!(fmt::write(&mut count, format_args!("{it}")).is_ok() && count.0 != 0);
}

/// Everything else that can be asked of a topology, of each function.
pub(super) fn ask(topology: &Topology<'_>) {
    let stranger = PciDevice { seg: 0xfffe, bus: 1, devfn: 1 };
    assert!(topology.group_of(stranger).is_none() && topology.moves_with(stranger).is_none());
    for function in topology.functions() {
        let address = function.address;
        let group = topology.group_of(address).expect("each has one");
        assert!(group.members().any(|member| member.address == address));
        let mut remedies = 0;
        topology.remedies(address, &mut |remedy| {
            assert_shown(&remedy);
            remedies += 1;
        });
        assert!(group.size() > 1 || remedies == 0, "{address} is alone and needs something");
        let above = topology.above(address).map(|it| it.address);
        let first = topology.bridges_above(address).next().map(|(it, _)| it.address);
        assert_eq!(first, above, "above {address}");
        for change in enabling(function, BringUp { rcba: function.rcba, ats_below: false }) {
            assert_eq!(change.set & change.clear, 0, "{change:?}");
        }
    }
}

/// What shares an id moves together, and is one group.
pub(super) fn check_ids(topology: &Topology<'_>, mode: Mode) {
    let mut users: BTreeMap<u32, PciDevice> = BTreeMap::new();
    for function in topology.functions() {
        let address = function.address;
        let first = topology.moves_with(address).expect("it is listed");
        assert_eq!(topology.moves_with(first), Some(first), "{first} stands for itself");
        let ids = ids_of(topology, address);
        let sender = function.requests_as.unwrap_or(address);
        assert!(ids.contains(&sender.sbdf()), "{address} has no id of its own");
        // Linux's groups know nothing of that.
        if mode != Mode::Safe {
            continue;
        }
        let number = |it| topology.group_of(it).map(|group| group.number());
        assert_eq!(number(first), number(address), "{address} moves with {first}");
        for id in ids {
            let user = *users.entry(id).or_insert(address);
            let name = PciDevice::from_sbdf(id);
            let of_user = topology.moves_with(user);
            assert_eq!(of_user, Some(first), "{user} and {address} can both send as {name}");
        }
    }
    for function in topology.functions() {
        check_moving(topology, function.address);
    }
}

fn ids_of(topology: &Topology<'_>, address: PciDevice) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    topology.ids_of(address, &mut |id| _ = ids.insert(id.0.sbdf()));
    ids
}

/// The ids of all that move with `address`, in order and each once, if there is room.
fn check_moving(topology: &Topology<'_>, address: PciDevice) {
    if topology.moves_with(address) != Some(address) {
        return;
    }
    let moving: Vec<_> = topology.moving_with(address).map(|it| it.address).collect();
    assert!(moving.contains(&address));
    let all: BTreeSet<_> = moving.iter().flat_map(|it| ids_of(topology, *it)).collect();
    let mut room = vec![SourceId(address); all.len() + 1];
    let ids = topology.ids_moving_with(address, &mut room).expect("there is room");
    assert!(ids.iter().map(|id| id.0.sbdf()).eq(all.iter().copied()), "ids with {address}");
    room.truncate(all.len() - 1);
    assert_eq!(topology.ids_moving_with(address, &mut room), None, "with too little room");
}
