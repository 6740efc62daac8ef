//! The level of the DMA API: what drivers asked of it in a trace is asked of the guest driver's.
//!
//! ```text
//!  Trace ──► requests: which driver, which memory, which unmap belongs to which map
//!               │
//!               ▼
//!            session ──► DMA API ──► watched ──► iommu_op ──► service
//!               │ ranges               │ wire
//!               └────── agree? ────── witness ──► DMA by bus address
//! ```
//!
//! `D` attaches a function to a space of its domain, `X` frees the space's context, `R` and domains
//! that do not translate put a function into the default context. `m`, `g` and `a` map, `u`, `h` and
//! `f` unmap; the bus addresses are the driver's own. `M` and `U` are what the traced kernel made of
//! the same calls: they tell where memory lies, and, with `P`, how many calls there could be.
//!
//! The driver's clock is the trace's, slowed down to the pace of real machines (`watched`); its timer
//! is polled by that clock. What is counted as hypercalls are those that map, unmap or flush: what it
//! takes to set up contexts and devices is told apart.
//!
//! Two sides know what must be so. The session knows what the API has promised. The witness knows
//! what the hypercalls asked for, and nothing of the driver. Both must agree at each step: a mapping
//! is where the API says, for its buffer's bytes and in its direction; what it calls safe is gone;
//! what it puts off or keeps is within bounds.

mod arena;
mod buffer;
mod handles;
mod open;
mod pieces;
mod ranges;
mod requests;
mod session;
mod watched;
mod wire;
mod witness;

use pviommu_guest::IommuClient;

use super::error::ReplayError;
use super::machine;
use super::options::{Lazy, Mode, Options};
use super::plan::Plan;
use super::summary::Summary;
use crate::machine::Bed;
use crate::trace::{Event, Trace};

use arena::{Arena, Places};
use requests::{Requests, What};
use session::{Modes, Session, Storage};
use watched::Watched;
use witness::Witness;

/// Requests between two reports of progress, and two looks at the machine's fault records.
const PROGRESS_EVERY: usize = 128;

/// Tables beyond those of the trace: bus frames lie elsewhere here, and mappings are kept.
const MORE_TABLES: u64 = 4096;

/// Replays `events` of `trace` and the calls of the DMA API between them.
pub(super) fn run(
    trace: &Trace,
    events: &[Event],
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Summary, ReplayError> {
    let is_whole = events.len() == trace.events.len();
    let last = if is_whole { u64::MAX } else { events.last().map_or(0, |event| event.line) };
    let calls = trace.calls.split_at(trace.calls.partition_point(|call| call.line <= last)).0;
    let requests = Requests::of(events, calls);
    let mut plan = Plan::of(trace, events, requests.memory(), options.units)?;
    plan.machine_reserved = machine::reserved_by_machine(options.units);
    plan.table_frames += MORE_TABLES;
    plan.add_cpus(calls.iter().map(|call| call.cpu));
    let config = machine::config(&plan, options);
    crate::machine::run(&config, |bed| {
        let mut progress = |line| progress(events.partition_point(|event| event.line <= line));
        let summary = on_machine(bed, &plan, requests, events, options, &mut progress)?;
        Ok(Summary { name: trace.name().to_owned(), ..summary })
    })
}

fn on_machine(
    bed: &Bed<'_>,
    plan: &Plan,
    requests: Requests,
    events: &[Event],
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Summary, ReplayError> {
    let lazy = Lazy::of(options.mode, events);
    let mut sum = first_summary(plan, &requests, &lazy, options);
    let found = Summary::default();
    let witness = Witness::new(
        bed,
        machine::DOMAIN,
        options.background,
        plan.mmio.clone(),
        options.seed,
        found,
    );
    let kernel = Watched::new(bed, machine::DOMAIN, &plan.cpus, witness);
    let (contexts, order) = (machine::contexts(plan), machine::arena_order(plan));
    let client = IommuClient::new(&kernel);
    client
        .init(contexts.into(), order.into())
        .map_err(|error| ReplayError::NoService { answer: error.to_string() })?;

    let arrivals = requests.list.iter().filter(|request| matches!(request.what, What::Attach(_)));
    let arrivals = arrivals.count();
    // As a constant it is not put together on the stack, for which it is large.
    let storage = |_| Box::new(const { Storage::new() });
    let storages: Vec<Box<Storage>> = (0..arrivals).map(storage).collect();
    let spaces = Places::new(arrivals);
    let devices = Places::new(arrivals);
    let arena = Arena { storages: &storages, spaces: &spaces, devices: &devices };
    let modes = Modes { lazy, reuse: reuse(options.mode) };
    let mut session =
        Session::new(bed, &kernel, plan, arena, modes, options.shares, &requests.highest);
    for (done, request) in requests.list.into_iter().enumerate() {
        if done.is_multiple_of(PROGRESS_EVERY) {
            progress(request.line);
            let _ = bed.take_faults();
        }
        session.request(request);
    }
    session.count(&mut sum);
    let counts = kernel.witness.borrow().counts;
    session.finish();
    progress(u64::MAX);

    let mut witness = kernel.witness.borrow_mut();
    sum.take_findings(std::mem::take(&mut witness.sum));
    sum.peak_live_maps = witness.spaces.most_live() as u64;
    drop(witness);
    sum.hypercalls = counts.translations;
    sum.hypercalls_set_up = counts.set_up;
    sum.map_hypercalls = counts.maps;
    sum.ns_per_op = kernel.nanoseconds() as f64 / sum.ops.max(1) as f64;
    sum.read_machine(bed);
    // Those of devices that come and go are no business of maps and unmaps.
    sum.iotlb_flushes = counts.flushes;
    sum.map_flushes = counts.map_flushes;
    sum.divide();
    Ok(sum)
}

/// What is known before the replay.
fn first_summary(plan: &Plan, requests: &Requests, lazy: &Lazy, options: &Options) -> Summary {
    Summary {
        ops: requests.trace_maps + requests.unmaps,
        maps: requests.trace_maps,
        unmaps: requests.unmaps,
        map_batches: requests.map_batches,
        oddities: requests.oddities,
        ..Summary::new(plan.devices.len(), options, lazy)
    }
}

fn reuse(mode: Mode) -> Option<std::num::NonZeroUsize> {
    match mode {
        Mode::Reuse(kept) => Some(kept),
        Mode::AsRecorded | Mode::Strict | Mode::Lazy => None,
    }
}
