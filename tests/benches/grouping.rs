//! What grouping costs, and how that grows: 4 096 functions beside 65 536, in one process.
//!
//! Both take turns, round by round; the figure is the ratio of the quickest rounds, which say least of what else
//! the machine does. It may be 24: sixteen times as many functions, and half as much again for sorting them and for
//! caches they no longer fit into. The exit status is 1 if it is more.

#![expect(clippy::unwrap_used, reason = "a machine that cannot be built has no figure")]

use std::{hint::black_box, process::ExitCode, time::Instant};

use clap::Parser;
use pviommu_abi::PciDevice;
use pviommu_hypervisor::topology::{
    Acs, AcsBits, BusNumbers, Firmware, Function, Identity, Kind, Mode, Node, Topology, Traits,
};

/// Measures how the cost of groups grows.
#[derive(Parser)]
struct Arguments {
    /// Fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

const MOST: f64 = 24.0;

/// So many buses of one kind.
type Shape = fn(usize) -> Vec<Function>;

/// Machines, by what is in them.
const SHAPES: [(&str, Shape); 4] = [
    ("cards that isolate", |buses| cards(buses, AcsBits::ISOLATION, 0x1234)),
    ("cards that do not", |buses| cards(buses, AcsBits::empty(), 0x1234)),
    ("a chain of bridges", chain),
    // PLX NTB: each may use any id of its bus.
    ("cards with all ids of a bus", |buses| cards(buses, AcsBits::ISOLATION, 0x10b5)),
];

/// A root port on bus 0 for each other bus, and a card of 256 functions on each.
fn cards(buses: usize, control: AcsBits, vendor: u16) -> Vec<Function> {
    let acs = |control| Acs::Present { capability: AcsBits::ISOLATION, control, at: 0x100 };
    let mut functions = Vec::new();
    for id in 0..buses * 256 {
        let mut function = Function::new(PciDevice::from_sbdf(u32::try_from(id).unwrap()));
        let bus = u8::try_from(id % 256).unwrap();
        if id < 256 {
            function.kind = Kind::RootComplexEndpoint;
            if (1..buses).contains(&id) {
                function.kind = Kind::RootPort;
                function.buses = Some(BusNumbers { secondary: bus, subordinate: bus });
            }
            function.acs = acs(AcsBits::ISOLATION);
        } else {
            function.kind = Kind::Endpoint;
            function.traits = Traits::ARI;
            function.acs = acs(control);
            function.identity = Identity { vendor, device: 0x87b0, ..Identity::default() };
            function.regions =
                [id as u64 * 0x4000 + 0x1_0000_0000, 0, id as u64 * 0x100 + 0x1000, 0, 0, 0];
        }
        functions.push(function);
    }
    functions
}

/// Each bus below a function of the one before.
fn chain(buses: usize) -> Vec<Function> {
    let last = u8::try_from(buses - 1).unwrap();
    let mut functions = cards(buses, AcsBits::ISOLATION, 0x1234);
    for function in &mut functions {
        let address = function.address;
        function.kind = Kind::Conventional;
        function.buses = None;
        if address.devfn == 0 && address.bus < last {
            function.buses = Some(BusNumbers { secondary: address.bus + 1, subordinate: last });
        }
    }
    functions
}

/// Nanoseconds to connect and group these functions.
fn once(nodes: &mut [Node]) -> f64 {
    let count = nodes.len();
    let begin = Instant::now();
    let topology = Topology::build(nodes, count, Firmware::default(), Mode::Safe).unwrap();
    black_box(topology.groups().count());
    begin.elapsed().as_nanos() as f64
}

fn quickest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn main() -> ExitCode {
    let rounds = if Arguments::parse().quick { 7 } else { 31 };
    println!("{} bytes a function", size_of::<Node>());
    println!("{:28} {:>12} {:>12} {:>8}", "ns a function, quickest", "4 096", "65 536", "ratio");
    let mut worst = 0.0;
    for (name, shape) in SHAPES {
        let nodes = |buses| shape(buses).into_iter().map(Node::new).collect::<Vec<_>>();
        let (mut few, mut many) = (nodes(16), nodes(256));
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            short.push(once(&mut few));
            long.push(once(&mut many));
        }
        let (short, long) = (quickest(&short), quickest(&long));
        let ratio = long / short;
        println!("{name:28} {:12.1} {:12.1} {ratio:8.2}", short / 4096.0, long / 65536.0);
        worst = f64::max(worst, ratio);
    }
    if worst > MOST {
        eprintln!("65 536 functions cost {worst:.1} times what 4 096 do; it may be {MOST}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
