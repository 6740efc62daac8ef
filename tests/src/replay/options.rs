//! How a trace is replayed.

use std::collections::BTreeSet;

use pviommu_hypervisor::Background;

use super::error::ReplayError;
use super::units::Units;
use crate::machine::{Break, Harshness};
use crate::trace::{Attach, DomainId, DomainType, Event, Op};

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Breaks the machine on purpose; the replay must then find something.
    pub sabotage: Option<Break>,
    /// Replays only so many events of maps, unmaps and devices.
    pub limit: Option<usize>,
    /// Chooses the patterns, the places that are tried and where the frames lie.
    pub seed: u64,
    /// What a bus address that nobody mapped hits.
    pub background: Background,
    /// Most operations of one hypercall; 0 is taken for 1.
    pub batch: u32,
    /// When unmaps are flushed.
    pub mode: Mode,
    /// The IOMMU units of the machine.
    pub units: Units,
    /// What the machine does that it need not do.
    pub harshness: Harshness,
}

impl Default for Options {
    /// The plainest: faults, one call for each operation, one unit with large leaves. Units read
    /// tables as they are: write buffers make a machine a hundred times slower.
    fn default() -> Self {
        Self {
            sabotage: None,
            limit: None,
            seed: 1,
            background: Background::Fault,
            batch: 1,
            mode: Mode::default(),
            units: Units::default(),
            harshness: Harshness { write_buffers: false, ..Harshness::ALL },
        }
    }
}

/// When unmaps are flushed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mode {
    /// Each domain as its kernel did it.
    #[default]
    AsRecorded,
    /// Before the call returns that unmaps.
    Strict,
    /// Later, many at a time.
    Lazy,
}

impl Options {
    /// Refuses what cannot show anything.
    ///
    /// # Errors
    /// [`ReplayError::Unnoticeable`] for a breakage of what these options never use.
    pub(super) fn check(&self) -> Result<(), ReplayError> {
        let of_scratch =
            matches!(self.sabotage, Some(Break::KeepStaleScratch | Break::LeafOnlyOnScratch));
        if of_scratch && self.background == Background::Fault {
            return Err(ReplayError::Unnoticeable {
                what: "a breakage of scratch pages",
                expected: "a background of scratch pages",
            });
        }
        Ok(())
    }
}

/// The domains whose unmaps wait for a flush.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lazy {
    mode: Mode,
    recorded: BTreeSet<DomainId>,
}

impl Lazy {
    pub(super) fn of(mode: Mode, events: &[Event]) -> Self {
        let recorded = events.iter().filter_map(|event| match event.op {
            Op::Attach(Attach { domain, kind: DomainType::DmaLazy, .. }) => Some(domain),
            _ => None,
        });
        Self { mode, recorded: recorded.collect() }
    }

    /// True if the kernel had a flush queue for `domain`, and so the trace its flushes.
    pub(super) fn is_recorded(&self, domain: DomainId) -> bool {
        self.recorded.contains(&domain)
    }

    /// True if unmaps of `domain` wait in this replay.
    pub(super) fn is_lazy(&self, domain: DomainId) -> bool {
        match self.mode {
            Mode::AsRecorded => self.is_recorded(domain),
            Mode::Strict => false,
            Mode::Lazy => true,
        }
    }

    /// `lazy` if any unmap may wait, else `strict`.
    pub(super) fn name(&self) -> &'static str {
        match self.mode {
            Mode::Lazy => "lazy",
            Mode::AsRecorded if !self.recorded.is_empty() => "lazy",
            Mode::AsRecorded | Mode::Strict => "strict",
        }
    }
}
