//! Buses and bridges as a tree.

use std::collections::BTreeMap;

use crate::pci::{Capture, Captured, Name};

/// The functions of a bus, in order, with what is below each.
#[derive(Debug)]
pub(super) struct Bus<'c> {
    pub(super) number: u8,
    pub(super) functions: Vec<Branch<'c>>,
}

/// A function, with the bus below it that has functions.
#[derive(Debug)]
pub(super) struct Branch<'c> {
    pub(super) function: &'c Captured,
    pub(super) below: Option<Bus<'c>>,
}

/// The root buses of `capture` that have functions.
///
/// A virtual function is shown on the bus of its physical one. A bridge leads to higher buses only,
/// so nothing is below itself.
pub(super) fn roots(capture: &Capture) -> Vec<Bus<'_>> {
    let mut buses: BTreeMap<u8, Vec<&Captured>> = BTreeMap::new();
    for function in &capture.functions {
        let bus = function.physical.map_or(function.name.bus, |physical| physical.bus);
        buses.entry(bus).or_default().push(function);
    }
    for functions in buses.values_mut() {
        functions.sort_by_key(|function| function.name);
    }
    let mut bridges: BTreeMap<u8, Name> = BTreeMap::new();
    for function in &capture.functions {
        // A virtual function is no bridge, whatever it says.
        let buses = function.buses.filter(|_| !function.virtual_function);
        let below = buses.map(|buses| buses.secondary);
        if let Some(below) = below.filter(|below| *below > function.name.bus) {
            bridges.entry(below).or_insert(function.name);
        }
    }
    let numbers: Vec<u8> = buses.keys().copied().filter(|bus| !bridges.contains_key(bus)).collect();
    numbers.into_iter().map(|number| bus(number, &buses, &bridges)).collect()
}

fn bus<'c>(
    number: u8,
    buses: &BTreeMap<u8, Vec<&'c Captured>>,
    bridges: &BTreeMap<u8, Name>,
) -> Bus<'c> {
    let branch = |function: &&'c Captured| {
        let below = function.buses.map(|it| it.secondary).filter(|below| {
            bridges.get(below) == Some(&function.name) && buses.contains_key(below)
        });
        Branch { function, below: below.map(|below| bus(below, buses, bridges)) }
    };
    let functions = buses.get(&number).into_iter().flatten().map(branch).collect();
    Bus { number, functions }
}

impl Bus<'_> {
    /// Rows that it takes when each function has one and stands beside what is below it.
    pub(super) fn rows(&self) -> u64 {
        self.functions.iter().map(Branch::rows).sum()
    }

    /// Buses from here to the deepest one.
    pub(super) fn depth(&self) -> u64 {
        let below = self.functions.iter().filter_map(|branch| branch.below.as_ref());
        1 + below.map(Bus::depth).max().unwrap_or(0)
    }
}

impl Branch<'_> {
    /// Rows that it takes, with what is below.
    pub(super) fn rows(&self) -> u64 {
        self.below.as_ref().map_or(1, |below| below.rows().max(1))
    }
}
