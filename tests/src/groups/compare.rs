//! Two ways to group the same functions, and where they differ.

use std::collections::{BTreeMap, BTreeSet};

use super::Grouped;
use crate::pci::Name;

/// Functions that are grouped in two ways.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Groups of them here.
    pub here: Vec<Vec<Name>>,
    /// Groups of them that Linux formed.
    pub linux: Vec<Vec<Name>>,
}

/// Where the groups of `machine` are not those of its `linux_groups`; of functions that are in
/// either.
#[must_use]
pub fn differences(machine: &Grouped) -> Vec<Difference> {
    let sorted = |members: Vec<Name>| {
        let mut members = members;
        members.sort_unstable();
        members
    };
    let known: BTreeSet<Name> = machine.capture.linux_groups.iter().flatten().copied().collect();
    let mine = |members: &[Name]| members.iter().copied().filter(|it| known.contains(it)).collect();
    let here: Vec<Vec<Name>> =
        machine.groups.iter().map(|group| sorted(mine(&group.members))).collect();
    let linux: Vec<Vec<Name>> = machine.capture.linux_groups.iter().cloned().map(sorted).collect();
    // Groups that overlap, here or there, differ together.
    let mut clusters = Clusters::default();
    for group in here.iter().chain(&linux) {
        for member in group {
            clusters.join(group[0], *member);
        }
    }
    let mut found: BTreeMap<Name, Difference> = BTreeMap::new();
    let none = || Difference { here: Vec::new(), linux: Vec::new() };
    for group in here.into_iter().filter(|group| !group.is_empty()) {
        found.entry(clusters.first(group[0])).or_insert_with(none).here.push(group);
    }
    for group in linux.into_iter().filter(|group| !group.is_empty()) {
        found.entry(clusters.first(group[0])).or_insert_with(none).linux.push(group);
    }
    let mut found: Vec<Difference> = found.into_values().collect();
    for difference in &mut found {
        difference.here.sort();
        difference.linux.sort();
    }
    found.retain(|difference| difference.here != difference.linux);
    found
}

/// Sets of functions, each known by its first one.
#[derive(Default)]
struct Clusters(BTreeMap<Name, Name>);

impl Clusters {
    fn first(&mut self, name: Name) -> Name {
        let mut first = name;
        while let Some(next) = self.0.get(&first).filter(|next| **next != first) {
            first = *next;
        }
        self.0.insert(name, first);
        first
    }

    fn join(&mut self, one: Name, other: Name) {
        let (one, other) = (self.first(one), self.first(other));
        self.0.insert(one.max(other), one.min(other));
    }
}
