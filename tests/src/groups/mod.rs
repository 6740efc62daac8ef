//! Isolation groups of captured machines, as the service forms them: in words, as JSON, as pictures,
//! and compared with those that Linux formed.
//!
//! ```text
//!  Capture ─► pci::convert ─► the service's topology ─► Grouped ┬─► text
//!                                                               ├─► json
//!                                                               ├─► compare
//!                                                               └─► tree ─► dot, svg
//! ```

mod compare;
mod dot;
mod palette;
mod svg;
mod text;
mod tree;

pub use compare::{Difference, differences};
pub use dot::dot;
pub use svg::svg;
pub use text::Text;

use std::collections::BTreeMap;

use pviommu_hypervisor::topology::{Contradiction, Mode, Topology};
use serde::Serialize;

use crate::pci::{Capture, Captured, Name, convert};

/// A machine with its groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grouped {
    /// What was captured.
    pub capture: Capture,
    /// How the groups were formed.
    pub mode: Mode,
    /// The groups, in the order of their first members.
    pub groups: Vec<Group>,
    /// Functions that are behind no IOMMU and so cannot be assigned; they are in no group.
    pub without_unit: Vec<Name>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The functions in it, in order.
    pub members: Vec<Name>,
    /// Functions behind no IOMMU that its members can reach.
    pub beside: Vec<Name>,
    /// Why they are together, one sentence each; empty unless it was asked for.
    pub why: Vec<String>,
    /// What would part functions from the rest; empty unless it was asked for.
    pub remedies: Vec<Remedies>,
}

/// What would part some functions from the rest of their group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remedies {
    /// The functions.
    pub of: Vec<Name>,
    /// What has to be done, all of it.
    pub steps: Vec<String>,
}

impl Grouped {
    /// Groups the functions of `capture`; says why if asked for.
    ///
    /// # Errors
    /// [`Contradiction`] if there can be no such machine.
    pub fn new(capture: Capture, mode: Mode, why: bool) -> Result<Self, Contradiction> {
        let mut machine = convert::Machine::new(&capture);
        let topology = machine.topology(mode)?;
        let mut groups = Vec::new();
        for found in topology.groups() {
            let has_unit = |wanted: bool| {
                let members = found.members().filter(move |it| it.unit.is_some() == wanted);
                members.map(|it| name(it.address)).collect::<Vec<_>>()
            };
            let (members, beside) = (has_unit(true), has_unit(false));
            if members.is_empty() {
                continue;
            }
            let mut group = Group { members, beside, why: Vec::new(), remedies: Vec::new() };
            if why {
                let segment = convert::address(&capture, Name { bus: 0, devfn: 0 }).seg;
                let short = |text: String| shorten(&text, segment);
                group.why = found.ties().map(|tie| short(tie.to_string())).collect();
                group.remedies = remedies(&topology, &capture, &group.members, &short);
            }
            groups.push(group);
        }
        // Without those behind no unit others may come first.
        groups.sort_by(|one, other| one.members.cmp(&other.members));
        let functions = topology.functions().filter(|function| function.unit.is_none());
        let without_unit = functions.map(|function| name(function.address)).collect();
        Ok(Self { capture, mode, groups, without_unit })
    }

    /// What was captured of each function.
    #[must_use]
    pub fn functions(&self) -> BTreeMap<Name, &Captured> {
        self.capture.functions.iter().map(|function| (function.name, function)).collect()
    }

    /// For each function the number of its group, from 1 on.
    #[must_use]
    pub fn numbers(&self) -> BTreeMap<Name, usize> {
        let numbered = self.groups.iter().zip(1..);
        numbered
            .flat_map(|(group, number)| group.members.iter().map(move |it| (*it, number)))
            .collect()
    }

    /// Says which functions count as isolating by the operator's word alone, if there are any.
    #[must_use]
    pub fn vouched_for(&self) -> Option<String> {
        let vouched = self.capture.functions.iter().filter(|function| function.vouched_for);
        let names: Vec<_> = vouched.map(|function| function.name.to_string()).collect();
        let say =
            || format!("{} count as isolating by the operator's word alone", names.join(", "));
        (!names.is_empty()).then(say)
    }

    /// What the mode is called on the command line.
    #[must_use]
    pub const fn mode_name(&self) -> &'static str {
        match self.mode {
            Mode::Safe => "safe",
            Mode::AsLinux => "as-linux",
        }
    }
}

/// What would part each of `members`, those with the same put together.
fn remedies(
    topology: &Topology<'_>,
    capture: &Capture,
    members: &[Name],
    short: &dyn Fn(String) -> String,
) -> Vec<Remedies> {
    let mut found: Vec<Remedies> = Vec::new();
    for member in members {
        let mut steps = Vec::new();
        topology.remedies(convert::address(capture, *member), &mut |remedy| {
            let step = short(remedy.to_string());
            if !steps.contains(&step) {
                steps.push(step);
            }
        });
        match found.iter_mut().find(|remedies| remedies.steps == steps) {
            _ if steps.is_empty() => {}
            Some(same) => same.of.push(*member),
            None => found.push(Remedies { of: vec![*member], steps }),
        }
    }
    found
}

const fn name(address: pviommu_abi::PciDevice) -> Name {
    Name { bus: address.bus, devfn: address.devfn }
}

/// `text` with functions as `bb:dd.f`: all are of one segment.
fn shorten(text: &str, segment: u16) -> String {
    let prefix = format!("{segment:04x}:");
    let mut out = String::new();
    for word in text.split_inclusive(' ') {
        let rest = word.strip_prefix(&prefix);
        let is_name = |rest: &&str| rest.get(..7).is_some_and(|it| it.parse::<Name>().is_ok());
        out.push_str(rest.filter(is_name).unwrap_or(word));
    }
    out
}

/// All machines with their groups, as `--json` prints them: in the order of numbers, which is that of
/// their digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Json {
    topologies: Vec<JsonTopology>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct JsonTopology {
    name: String,
    groups: Vec<Vec<String>>,
}

impl Json {
    /// Those of `machines`.
    #[must_use]
    pub fn new(machines: &[Grouped]) -> Self {
        let group = |group: &Group| group.members.iter().map(Name::to_string).collect();
        let topology = |machine: &Grouped| JsonTopology {
            name: machine.capture.name.clone(),
            groups: machine.groups.iter().map(group).collect(),
        };
        Self { topologies: machines.iter().map(topology).collect() }
    }
}
