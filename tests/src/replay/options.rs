//! How a trace is replayed.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use pviommu_hypervisor::Background;

use super::error::ReplayError;
use super::units::Units;
use crate::machine::{Break, Harshness};
use crate::trace::{Attach, DomainId, DomainType, Event, Op};

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which lines of the trace are replayed.
    pub level: Level,
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
    /// Maps pages of another domain for the devices as well, now and then; at the level of the DMA API.
    pub shares: bool,
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
            level: Level::default(),
            sabotage: None,
            limit: None,
            seed: 1,
            background: Background::Fault,
            batch: 1,
            mode: Mode::default(),
            shares: false,
            units: Units::default(),
            harshness: Harshness { write_buffers: false, ..Harshness::ALL },
        }
    }
}

/// Which lines of a trace are replayed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Level {
    /// Maps and unmaps, by hypercalls as they are recorded.
    #[default]
    Iommu,
    /// Calls of the DMA API, by the guest driver's.
    Dma,
}

impl Level {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iommu => "iommu",
            Self::Dma => "dma",
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
    /// When so many others of the same device are kept; for the DMA API only.
    Reuse(NonZeroUsize),
}

impl Options {
    /// The events that are replayed.
    pub(super) fn part<'e>(&self, events: &'e [Event]) -> &'e [Event] {
        let limit = self.limit.unwrap_or(usize::MAX).min(events.len());
        events.split_at(limit).0
    }

    /// Refuses what cannot show anything, or cannot be.
    ///
    /// # Errors
    /// [`ReplayError::Unnoticeable`] for a breakage of what these options never use;
    /// [`ReplayError::OtherLevel`] for options of the other level.
    pub(super) fn check(&self) -> Result<(), ReplayError> {
        let other = match (self.level, self.mode) {
            (Level::Iommu, Mode::Reuse(_)) => Some(("mappings cannot be kept", Level::Dma)),
            (Level::Iommu, _) if self.shares => {
                Some(("pages of another domain cannot be mapped", Level::Dma))
            }
            (Level::Dma, _) if self.batch > 1 => {
                Some(("the size of batches cannot be chosen", Level::Iommu))
            }
            _ => None,
        };
        if let Some((what, level)) = other {
            let (found, expected) = (self.level.name(), level.name());
            return Err(ReplayError::OtherLevel { what, found, expected });
        }
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
            Mode::Lazy | Mode::Reuse(_) => true,
        }
    }

    /// `reuse` if mappings are kept, `lazy` if any unmap may wait, else `strict`.
    pub(super) fn name(&self) -> &'static str {
        match self.mode {
            Mode::Reuse(_) => "reuse",
            Mode::Lazy => "lazy",
            Mode::AsRecorded if !self.recorded.is_empty() => "lazy",
            Mode::AsRecorded | Mode::Strict => "strict",
        }
    }
}
