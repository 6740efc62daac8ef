//! Sequences from the bundled traces of real kernels: the maps, unmaps and moves of the first events, in the
//! domains of the model.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use pviommu_abi::Background as Wire;
use pviommu_hypervisor::platform::Access;

use super::{
    STEPS,
    script::{begin, go_on, map_by, unmap},
};
use crate::{
    model::{By, Event, Op, Place},
    source,
    trace::{Op as Traced, Prot, Trace},
};

const TRACES: [&str; 7] = [
    "d0-small-strict",
    "d1-nvme-strict",
    "d2-nvme-lazy",
    "d3-ext4-virtioblk-strict",
    "d4-net-strict",
    "d5-usb-ahci-hotplug",
    "d6-mixed-lazy-4cpu",
];

/// Lines that are read of each; enough for as many steps as an input has.
const LINES: usize = 2000;

/// Lines between those that become two sequences of one trace.
const APART: usize = 700;

/// Guest frames that a trace's pages are: in the model's domains, memory is there.
const GFN: u64 = 0x200;
const GFNS: u64 = 0x200;

/// The sequences, by the names of the traces.
pub(super) fn sequences() -> Vec<(String, Vec<Event>)> {
    let mut all = Vec::new();
    for name in TRACES {
        let trace = read(name);
        for (from, part) in [(0, "begin"), (APART, "middle")] {
            let mut turned = Turned::default();
            for event in trace.events.iter().skip(from) {
                turned.take(event.cpu, &event.op);
            }
            turned.events.truncate(STEPS);
            all.push((format!("trace-{name}-{part}"), turned.events));
        }
    }
    all
}

/// The first lines of a trace.
fn read(name: &str) -> Trace {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let file = File::open(directory.join(format!("{name}.trace.gz"))).expect("it is in the tree");
    let text = BufReader::new(source::text(file).expect("it is compressed"));
    let lines = text.lines().take(LINES).map(|line| line.expect("it is text") + "\n");
    Trace::read(name, lines.collect::<String>().as_bytes()).expect("its first lines are a trace")
}

/// What becomes of a trace.
#[derive(Default)]
struct Turned {
    events: Vec<Event>,
    /// The trace's domains in the order they came; a domain of the model has four contexts.
    domains: Vec<u64>,
    stands: bool,
}

impl Turned {
    /// The domain of the model, and its context, that a domain of the trace is.
    fn place(&mut self, domain: u64) -> (usize, u16) {
        let known = self.domains.iter().position(|it| *it == domain);
        let number = known.unwrap_or_else(|| {
            self.domains.push(domain);
            let number = self.domains.len() - 1;
            // The first of each is there from the start.
            if number >= 3 {
                let (dom, background) = (number % 3, Wire::DEFAULT);
                self.push(Op::Alloc { dom, background, aperture: (0, 0) }, 0);
            }
            number
        });
        (number % 3, 1 + (number as u16 / 3) % 4)
    }

    /// What happened on other CPUs than the first is left standing until something else has happened.
    fn push(&mut self, op: Op, cpu: u32) {
        let stood = self.stands;
        self.stands = cpu % 2 == 1 && matches!(op, Op::Map { .. } | Op::Unmap { .. });
        self.events.push(if self.stands { begin(1, op) } else { Event::Plain(op) });
        if stood {
            self.events.push(go_on(0, u32::MAX));
        }
    }

    fn take(&mut self, cpu: u32, op: &Traced) {
        match op {
            Traced::Map(map) => {
                let (dom, ctx) = self.place(map.domain);
                let by = [By::Alone, By::Batch, By::List][self.events.len() % 3];
                let first = (map.paddr >> 12) % GFNS;
                let pages = pages(map.size).min(GFNS - first);
                let op = map_by(by, dom, map.iova >> 12, pages as u32, GFN + first);
                self.push(with_right(op, ctx, map.prot), cpu);
            }
            Traced::Unmap(gone) => {
                let (dom, its_ctx) = self.place(gone.domain);
                let mut op = unmap(dom, gone.iova >> 12, pages(gone.size) as u32);
                if let Op::Unmap { ctx, alone, skip_holes, .. } = &mut op {
                    *ctx = its_ctx;
                    *alone = self.events.len().is_multiple_of(2);
                    *skip_holes = !*alone;
                }
                self.push(op, cpu);
            }
            Traced::Attach(attach) => {
                let (dom, ctx) = self.place(attach.domain);
                // Each domain has one with its own number, but for the first two, whose are the other way round.
                let device = [1, 0, 2][dom];
                self.push(Op::Attach { dom, device, ctx }, cpu);
            }
            Traced::Free(domain) => {
                let (dom, ctx) = self.place(*domain);
                self.push(Op::Free { dom, ctx, reattach: true }, cpu);
            }
            Traced::FlushAll(_) => self.push(Op::Trim { dom: 0 }, cpu),
            Traced::MapBatch(_) | Traced::Sync(_) | Traced::Arrive(_) | Traced::Leave(_) => {}
        }
    }
}

/// As many pages as a call of the model has at most.
fn pages(bytes: u64) -> u64 {
    (bytes >> 12).clamp(1, GFNS)
}

fn with_right(op: Op, its_ctx: u16, prot: Prot) -> Op {
    let Op::Map { dom, at, pages, gfn, by, .. } = op else { return op };
    let access = match (prot.contains(Prot::READ), prot.contains(Prot::WRITE)) {
        (true, false) => Access::READ,
        (false, true) => Access::WRITE,
        _ => Access::all(),
    };
    let Place::Number(_) = at else { return op };
    Op::Map { dom, ctx: its_ctx, at, pages, gfn, access, by }
}
