//! Machines of PCI functions: what a fuzzer feeds to the topology, and what must hold.
//!
//! ```text
//!  bytes ──► Input ──► functions, firmware ──► Topology, in both modes ──► changes ──► oracles
//! ```
//!
//! A function is what raw configuration space says, or facts chosen one by one; where it is, is chosen so that
//! most inputs are machines, or taken as it is, so that some are none.
//!
//! The oracles, each a panic:
//!
//! * groups are a partition, in order and of the size they say, and the ties of a group connect it, with none
//!   too many;
//! * the order of functions does not matter, neither for groups nor for what is refused;
//! * a plan that is dropped, or refused, leaves all as it was; one that is kept leaves what would be built afresh;
//! * [`Plan::regrouped`](pviommu_hypervisor::topology::Plan::regrouped) names the functions whose groups have
//!   other members, and no others;
//! * isolation that is added merges nothing, and isolation that is taken away splits nothing;
//! * functions whose requests can carry one id move together and are one group, and the ids that move are in
//!   order, each once;
//! * groups are those that the fabric finds by sending requests, where it can have such a machine;
//! * whatever is asked about a machine has an answer.

mod against;
mod changes;
mod facts;
mod input;
mod layout;
mod seeds;
mod snapshot;

pub use input::{Change, Config, Facts, Input, Item};
pub use seeds::seeds;

use pviommu_hypervisor::topology::{Contradiction, Firmware, Function, Mode, Node, Topology};

use changes::Asked;
use layout::Machine;
use snapshot::Snapshot;

/// Functions that may come later.
const SPARE: usize = 8;

/// Runs one input.
pub(super) fn run(data: &[u8], print: bool) {
    let input = Input::from_bytes(data);
    let machine = Machine::of(&input);
    if print {
        println!("flags {:#04x}", input.flags);
        machine.functions.iter().for_each(show);
        println!("{:x?}\n{:x?}", machine.aliases, machine.direct);
    }
    for mode in [Mode::AsLinux, Mode::Safe] {
        run_as(&input, &machine, mode, print);
    }
}

fn show(function: &Function) {
    let Function { address, kind, traits, buses, acs, identity, .. } = function;
    let (vendor, device) = (identity.vendor, identity.device);
    println!("{address} {kind:?} {vendor:04x}:{device:04x} {buses:x?} {acs:?} {traits:?}");
    let Function { phantom_bits, physical, requests_as, unit, regions, rcba, .. } = function;
    println!(
        "    phantoms {phantom_bits}, of {physical:?}, as {requests_as:?}, behind {unit:?}, \
         regions {regions:x?}, rcba {rcba:#x}"
    );
}

fn build<'n>(
    nodes: &'n mut [Node],
    firmware: Firmware<'n>,
    mode: Mode,
) -> Result<Topology<'n>, Contradiction> {
    let count = nodes.len();
    Topology::build(nodes, count, firmware, mode)
}

fn run_as(input: &Input, machine: &Machine, mode: Mode, print: bool) {
    let count = machine.functions.len();
    let mut nodes: Vec<_> = machine.functions.iter().copied().map(Node::new).collect();
    nodes.resize(count + SPARE, Node::vacant());
    let mut other: Vec<_> = machine.functions.iter().rev().copied().map(Node::new).collect();
    other.rotate_left(count / 2);
    let other = build(&mut other, machine.firmware(), mode);
    let mut topology = match Topology::build(&mut nodes, count, machine.firmware(), mode) {
        Ok(topology) => topology,
        Err(error) => {
            if print {
                println!("{mode:?}: {error}");
            }
            assert!(!error.to_string().is_empty());
            assert_eq!(other.err(), Some(error), "in another order");
            return;
        }
    };
    let snapshot = Snapshot::of(&topology);
    let other = other.map(|topology| Snapshot::of(&topology));
    assert_eq!(other.as_ref(), Ok(&snapshot), "in another order");
    check(&topology, mode);
    if print {
        println!("{mode:?}: {:x?}", snapshot.groups);
    }
    if mode == Mode::Safe {
        let known = against::compare(machine, &snapshot);
        if print {
            println!("    compared with the fabric: {known}");
        }
    }
    let mut told = false;
    for item in &input.items {
        let Item::Change(change) = item else { continue };
        let functions: Vec<_> = topology.functions().copied().collect();
        let Some(asked) = Asked::of(change, &functions) else { continue };
        if print {
            println!("{asked:x?}");
        }
        let came = changes::apply(&mut topology, change, &asked, (machine.firmware(), mode));
        if print {
            println!("    {came}");
        }
        told |= came == "kept";
    }
    if told && mode == Mode::Safe {
        check(&topology, mode);
        against::compare(machine, &Snapshot::of(&topology));
    }
}

/// What can be asked of one that stands still.
fn check(topology: &Topology<'_>, mode: Mode) {
    snapshot::ask(topology);
    snapshot::check_ids(topology, mode);
}
