//! Draws address spaces: a trace is replayed up to an operation, and its tables are read.
//!
//! ```text
//!  Trace ──► replay on the service, up to operation N
//!                 │ the roots, as device entries name them
//!                 ▼
//!             survey: every entry, by the walker of the units ──► ranges, tables
//!                 │ entry: size, access, origin
//!                 ▼
//!             picture ──► text, for a terminal
//!                   └───► svg, for a browser
//! ```
//!
//! Nothing in a picture is the service's own word: what is drawn is what hardware would find.

mod entry;
mod error;
mod format;
mod picture;
mod ranges;
mod reserved;
mod strip;
mod survey;
mod svg;
mod text;

pub use entry::{Access, Origin, Page, PageSize, Target};
pub use error::ShowError;
pub use format::Format;
pub use picture::{Picture, Space, Totals};
pub use ranges::{Range, What};
pub use reserved::Reserved;
pub use survey::{Level, Survey, survey};
pub use svg::svg;
pub use text::Text;

use pviommu_abi::PciDevice;

use crate::machine::Bed;
use crate::replay::{self, Options, Seen, Summary, Units};
use crate::trace::{Op, Trace};

/// Replays `trace` up to its operation `at`, an `M` or `U` line, or to its end, and looks at what
/// is there then. The summary tells of the replay, whose limit of events is not heeded.
///
/// # Errors
/// [`ShowError`] if there is no such operation or there can be no replay.
pub fn show(
    trace: &Trace,
    options: &Options,
    at: Option<u64>,
    progress: &mut dyn FnMut(usize),
) -> Result<(Picture, Summary), ShowError> {
    let of = trace.counts.maps + trace.counts.unmaps;
    let limit = match at {
        None => trace.events.len(),
        Some(at) => events_up_to(trace, at).ok_or_else(|| ShowError::PastTheEnd {
            file: trace.file.clone(),
            at,
            of,
        })?,
    };
    let options = Options { limit: Some(limit), ..options.clone() };
    let units = options.units;
    let look =
        |bed: &Bed<'_>, seen: &[Seen]| seen.iter().map(|s| space(trace, bed, units, s)).collect();
    let (summary, spaces) = replay::run_and_look(trace, &options, progress, look)?;
    let picture = Picture {
        name: trace.name().to_owned(),
        what: trace.header.what.clone(),
        operations: at.unwrap_or(of),
        of,
        spaces,
    };
    Ok((picture, summary))
}

/// The number of events up to operation `at`, which is one of them.
fn events_up_to(trace: &Trace, at: u64) -> Option<usize> {
    let Some(before) = at.checked_sub(1) else { return Some(0) };
    let is_operation = |op: &Op| matches!(op, Op::Map(_) | Op::Unmap(_));
    let places = trace.events.iter().enumerate().filter(|(_, event)| is_operation(&event.op));
    places.map(|(place, _)| place + 1).nth(usize::try_from(before).ok()?)
}

/// One address space as its table says.
fn space(trace: &Trace, bed: &Bed<'_>, units: Units, seen: &Seen) -> Space {
    let board = bed.board();
    let found = seen.root.and_then(|(unit, root)| {
        let facts = board.unit(unit)?.facts();
        Some(survey(board.memory(), facts, root))
    });
    Space {
        domain: seen.domain,
        context: seen.context.0,
        devices: seen.devices.iter().map(|device| name(trace, *device)).collect(),
        reserved: reserved::reserved(&trace.header, &seen.devices, units.kind()),
        ..Space::new(found.unwrap_or_default())
    }
}

/// A function with its driver, if the trace knows one.
fn name(trace: &Trace, device: PciDevice) -> String {
    let known = trace.header.functions.iter().find(|function| function.address == device);
    match known.and_then(|function| function.driver.as_deref()) {
        Some(driver) => format!("{device} {driver}"),
        None => device.to_string(),
    }
}
