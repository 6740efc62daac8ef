//! What the service runs on: the platform traits, as an embedder would implement them, on top of the
//! board.
//!
//! The traits are in `ownership` (pages), `table_frames`, `hardware` (units) and `host` (the safe
//! ones). Every method but those of the page tables and of the units takes the platform's one lock,
//! so that a call from under a lock of the service shows; those that look at a P2M hold its lock, too.

use std::sync::atomic::AtomicBool;

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    DomainIommu,
    platform::{SourceId, UnitError, UnitId},
};

use super::{board::Board, violation::Violation};
use crate::iommu::UnitModel;

/// A domain: the service's state of it, and whether it is dying.
#[derive(Debug)]
pub struct DomainSlot<'a> {
    /// Its number.
    pub id: DomId,
    /// True if it names all devices of the machine, not only its own.
    pub sees_all_devices: bool,
    /// The service's state of it.
    pub iommu: DomainIommu<'a>,
    /// Once true, it is no target of calls any more.
    pub dying: AtomicBool,
}

/// What the service runs on.
#[derive(Clone, Copy, Debug)]
pub struct Platform<'a> {
    pub(super) board: &'a Board,
    domains: &'a [DomainSlot<'a>],
}

impl<'a> Platform<'a> {
    /// A platform on `board` with `domains`.
    #[must_use]
    pub const fn new(board: &'a Board, domains: &'a [DomainSlot<'a>]) -> Self {
        Self { board, domains }
    }

    pub(super) fn slot(&self, domain: DomId) -> Option<&'a DomainSlot<'a>> {
        self.domains.iter().find(|slot| slot.id == domain)
    }

    pub(super) fn unit(&self, unit: UnitId) -> Result<&'a UnitModel, UnitError> {
        self.board.unit(unit).ok_or_else(|| {
            self.board.memory.violations.record(Violation::NoSuchUnit { unit });
            UnitError
        })
    }

    /// Has all that a device has written arrive, if `done`.
    pub(super) fn drain(&self, unit: UnitId, source: SourceId, done: bool) {
        self.board.memory.drain(|at| done && at.unit == unit && at.device == source.0);
    }
}
