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
//! The trace's domains are contexts of one guest. `M` maps, `U` unmaps, `D` reattaches a device,
//! `X` frees the context; `IDENTITY`, `BLOCKED` and `R` put a device into the default context,
//! which blocks it. The lines of the DMA API tell of the same maps once more; they are replayed
//! instead of those at the other level, which is in `dma`.
//!
//! Maps and unmaps are calls of RFC v7, one each, or elements of batches. A batch of a domain ends
//! at `P`, with an unmap that is flushed at once, when it is full, and before anything else
//! happens. Unmaps are flushed at once, or later: then at `A`, at an `S` of a domain that has a
//! flush queue, and after 256 unmaps of a domain that has none.
//!
//! After each call a device on each unit of that domain reads and writes through what was mapped,
//! in the directions it has and in those it has not, and tries what was unmapped: it must hit the
//! background, or, until the flush, what was there before. So it does before each map, and when a
//! device has come or left. What must be reachable is known from a shadow that the service has no
//! part in; the machine's references must be as many as the shadow has pages.

mod calls;
mod checks;
mod dma;
mod error;
mod guest;
mod machine;
mod options;
mod plan;
pub(crate) mod sample;
mod session;
mod shadow;
mod spaces;
mod spans;
mod summary;
mod units;
mod work;

pub use error::ReplayError;
pub use options::{Level, Mode, Options};
pub use session::look::Seen;
pub use summary::Summary;
pub use units::Units;

use crate::machine::Bed;
use crate::trace::Trace;

use guest::Driver;
use options::Lazy;
use plan::Plan;
use session::Session;

/// Events between two reports of progress.
const PROGRESS_EVERY: usize = 128;

/// Replays `trace`. `progress` is told now and then how many of its events are done.
///
/// # Errors
/// [`ReplayError`] if there can be no replay. Whatever goes wrong in one is in the summary.
pub fn run(
    trace: &Trace,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Summary, ReplayError> {
    match options.level {
        Level::Iommu => run_to(trace, options, progress, |_, _| ()).map(|(summary, ())| summary),
        Level::Dma => {
            options.check()?;
            dma::run(trace, options.part(&trace.events), options, progress)
        }
    }
}

/// Replays `trace` at the level of the IOMMU, and calls `look` with the machine and its address
/// spaces before they are freed.
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
    options.check()?;
    let events = options.part(&trace.events);
    let mut plan = Plan::of(trace, events, Vec::new(), options.units)?;
    plan.machine_reserved = machine::reserved_by_machine(options.units);
    let config = machine::config(&plan, options);
    crate::machine::run(&config, |bed| {
        let batch = usize::try_from(options.batch).unwrap_or(usize::MAX);
        let driver = Driver::new(bed, machine::DOMAIN, &plan.cpus, batch);
        driver.init(machine::contexts(&plan), machine::arena_order(&plan))?;
        let lazy = Lazy::of(options.mode, events);
        let mut session = Session::new(bed, machine::DOMAIN, &plan, driver, lazy, options);
        for (done, event) in events.iter().enumerate() {
            if done.is_multiple_of(PROGRESS_EVERY) {
                progress(done);
            }
            session.event(event);
        }
        session.submit_all();
        progress(events.len());
        let seen = end(bed, &mut session);
        Ok((Summary { name: trace.name().to_owned(), ..session.finish() }, seen))
    })
}
