//! IOMMU traces of real kernels: what a file holds, and how it is read.
//!
//! ```text
//! file ── source ──► bytes ── lines ──► header ──► Header   (lines with `#` in column 1)
//!         gzip?                    └──► record ──► Event    (M U P S A D X G R)
//!                                          └─────► DmaEvent (m u g h a f, and variants)
//! ```
//!
//! The format is described in `tests/traces/README.md`. A trace is untrusted text: every number
//! is checked before it is used, and what does not fit the format is an error that names the
//! file, the line, what stood there and what was expected. Nothing here knows the service.

mod dma;
mod dma_record;
mod error;
mod event;
mod fields;
mod header;
mod lines;
mod record;

pub use dma::{DmaBuffer, DmaCall, DmaDirection, DmaEvent, DmaList, DmaListEnd, DmaOp, DmaRange};
pub use error::TraceError;
pub use event::{Attach, Counts, DomainId, DomainType, Event, Map, Op, Prot, Unmap};
pub use header::{ByteRange, Function, Group, Header, RegionKind, ReservedRegion};

use std::io::Read;
use std::path::Path;

use crate::source;

/// A whole trace in memory: what the replay works on.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What the trace is called in messages: the path it came from.
    pub file: String,
    /// The lines that say what was traced.
    pub header: Header,
    /// The IOMMU-level events, in the order they happened.
    pub events: Vec<Event>,
    /// The calls of the DMA API that succeeded, in the same order: by their lines both lists are one.
    pub calls: Vec<DmaEvent>,
    /// How many lines of each kind there were, those that are not kept included.
    pub counts: Counts,
}

impl Trace {
    /// The name its header gives it, or that of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.header.name.is_empty() { &self.file } else { &self.header.name }
    }

    /// Reads the file at `path`, plain or gzip (by its first bytes, whatever its name); `-` is
    /// the standard input.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be read or is no well-formed trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        match source::open(path) {
            (file, Ok(bytes)) => Self::read(&file, bytes),
            (file, Err(error)) => Err(TraceError::Unreadable { file, error }),
        }
    }

    /// Reads a trace from `bytes`, plain or gzip; `file` is its name in messages.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be read or is no well-formed trace.
    pub fn read(file: &str, bytes: impl Read) -> Result<Self, TraceError> {
        let text = source::text(bytes)
            .map_err(|error| TraceError::Unreadable { file: file.to_owned(), error })?;
        let mut lines = lines::Lines::new(file, text);
        let mut trace = Self {
            file: file.to_owned(),
            header: Header::default(),
            events: Vec::new(),
            calls: Vec::new(),
            counts: Counts::default(),
        };
        lines.read_first()?;
        let mut now = 0;
        while let Some(line) = lines.next_line()? {
            if let Some(comment) = line.text.strip_prefix('#') {
                trace.header.take_line(comment).map_err(|fault| fault.at(file, line.number))?;
                continue;
            }
            if line.text.trim().is_empty() {
                continue;
            }
            let record = record::parse(line.text, line.number, now)
                .map_err(|fault| fault.at(file, line.number))?;
            now = record.ns;
            trace.counts.add(&record.told);
            record.keep(&mut trace.events, &mut trace.calls);
        }
        if trace.counts.lines == 0 {
            return Err(error::Fault::new("the end", "at least one event after the header")
                .at(file, lines.number()));
        }
        Ok(trace)
    }
}
