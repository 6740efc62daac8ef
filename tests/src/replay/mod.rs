//! Replays a trace of a real kernel on the service, and checks it by DMA.
//!
//! ```text
//!  Trace ──► plan ──► machine: devices, memory, reserved ranges, limits
//!    │                   ▲
//!    └────► session ─────┤  guest driver ──► iommu_op ──► service ──► tables, invalidations
//!             │ shadow   │
//!             └► checks ─┘  DMA by bus address, compared with guest memory
//! ```
//!
//! The trace's domains are contexts of one guest. A `M` is one `map_pages` call, a `U` one
//! `unmap_pages` call, `D` reattaches a device, `X` frees the context; `IDENTITY`, `BLOCKED` and
//! `R` put a device into the default context, which blocks it. The lines of the DMA API are not
//! replayed: they tell of the same maps once more. A trace of a lazy kernel is replayed strictly.
//!
//! After each map a device of that context reads and writes through it, in the directions it has
//! and in those it has not; after each unmap, and when a device has left, it tries what it could
//! reach before. What must be reachable is known from a shadow that the service has no part in.

mod checks;
mod error;
mod guest;
mod machine;
mod plan;
mod sample;
mod session;
mod shadow;
mod spaces;
mod spans;
mod summary;

pub use error::ReplayError;
pub use session::look::Seen;
pub use summary::Summary;

use pviommu_hypervisor::Background;

use crate::machine::{Bed, Break};
use crate::trace::Trace;

use guest::Driver;
use plan::Plan;
use session::Session;

/// Events between two reports of progress.
const PROGRESS_EVERY: usize = 128;

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Breaks the machine on purpose; the replay must then find something.
    pub sabotage: Option<Break>,
    /// Replays only so many events of maps, unmaps and devices.
    pub limit: Option<usize>,
    /// What a bus frame that nobody mapped hits.
    pub background: Background,
    /// Chooses the patterns, the places that are tried and where the frames lie.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { sabotage: None, limit: None, background: Background::Fault, seed: 1 }
    }
}

/// Replays `trace`. `progress` is told now and then how many of its events are done.
///
/// # Errors
/// [`ReplayError`] if there can be no replay. Whatever goes wrong in one is in the summary.
pub fn run(
    trace: &Trace,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Summary, ReplayError> {
    run_to(trace, options, progress, |_, _| ()).map(|(summary, ())| summary)
}

/// Replays `trace` and calls `look` with the machine and its address spaces before they are freed.
///
/// # Errors
/// [`ReplayError`] if there can be no replay.
pub fn run_and_look<R>(
    trace: &Trace,
    options: &Options,
    progress: &mut dyn FnMut(usize),
    look: impl FnOnce(&Bed<'_>, &[Seen]) -> R,
) -> Result<(Summary, R), ReplayError> {
    run_to(trace, options, progress, |bed, session| look(bed, &session.look()))
}

/// Replays `trace` and calls `end` before the address spaces are freed.
fn run_to<R>(
    trace: &Trace,
    options: &Options,
    progress: &mut dyn FnMut(usize),
    end: impl FnOnce(&Bed<'_>, &mut Session<'_, '_>) -> R,
) -> Result<(Summary, R), ReplayError> {
    let limit = options.limit.unwrap_or(usize::MAX).min(trace.events.len());
    let (events, _) = trace.events.split_at(limit);
    let mut plan = Plan::of(trace, events)?;
    plan.machine_reserved = machine::reserved_by_machine();
    let config = machine::config(&plan, options);
    crate::machine::run(&config, |bed| {
        let driver = Driver::new(bed, machine::DOMAIN, &plan.cpus);
        driver.init(machine::contexts(&plan), machine::arena_order(&plan))?;
        let mut session = Session::new(bed, machine::DOMAIN, &plan, driver, options.seed);
        for (done, event) in events.iter().enumerate() {
            if done.is_multiple_of(PROGRESS_EVERY) {
                progress(done);
            }
            session.event(event);
        }
        progress(events.len());
        let seen = end(bed, &mut session);
        Ok((Summary { name: trace.name().to_owned(), ..session.finish() }, seen))
    })
}
