//! Pages of another domain among the driver's own: whatever the device's mode is, they are reached
//! while they are mapped, and not a moment longer.

use pviommu_abi::{Gfn, PciDevice};
use pviommu_guest::dma::{Direction, MapFailed, Mapping};
use pviommu_hypervisor::platform::Access;

use super::{Of, Session};
use crate::replay::checks::{Probe, Stretch};
use crate::replay::dma::buffer::Memory;
use crate::replay::dma::handles::Attached;
use crate::replay::dma::pieces::Piece;
use crate::replay::machine::{DOMAIN, OTHER, OTHER_PAGES};
use crate::replay::shadow::Extent;

/// Maps of the trace between two times.
const EVERY: usize = 64;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// Pages that are mapped at a time.
const PAGES: u64 = 3;

/// Directions, and what devices may do then.
const WAYS: [(Direction, Access); 3] = [
    (Direction::ToDevice, Access::READ),
    (Direction::FromDevice, Access::WRITE),
    (Direction::Both, Access::READ.union(Access::WRITE)),
];

/// How one mapping is tried.
#[derive(Clone, Copy)]
struct Trial {
    device: PciDevice,
    access: Access,
    /// The mapping is dropped, not unmapped.
    is_dropped: bool,
    /// Calls before it was made.
    calls: u64,
}

impl<'k> Session<'_, '_, '_, 'k> {
    /// If it is time, maps pages of the other domain for a device, each twice: a mapping that was
    /// kept, or waits, would show.
    pub(super) fn share(&self, device: PciDevice, attached: &Attached<'_, Of<'k>>) {
        if !self.shares || !self.maps.is_multiple_of(EVERY) {
            return;
        }
        let first = self.witness().chance.below(OTHER_PAGES - PAGES);
        for (direction, access) in WAYS {
            for is_dropped in [false, true] {
                let calls = self.witness().counts.translations;
                let trial = Trial { device, access, is_dropped, calls };
                self.share_grants(&trial, attached, first, direction);
                let calls = self.witness().counts.translations;
                self.share_foreign(&Trial { calls, ..trial }, attached, first, direction);
            }
        }
    }

    fn share_grants(
        &self,
        trial: &Trial,
        attached: &Attached<'_, Of<'k>>,
        first: u64,
        direction: Direction,
    ) {
        let bed = self.bed;
        let is_read_only = trial.access == Access::READ;
        let pages = first..first + PAGES;
        let grants = pages.map(|page| bed.grant(OTHER, Gfn(page), DOMAIN, is_read_only));
        let grants: Vec<u64> = grants.collect();
        let mapped = attached.map_grants(OTHER, grants.clone(), direction);
        self.try_shared(trial, mapped, Piece { address: first * PAGE, length: PAGES * PAGE });
        for grant in grants {
            if bed.end_grant(OTHER, grant).is_err() {
                self.mismatch(|| format!("{}: a grant is in use after its unmap", trial.device));
            }
        }
    }

    fn share_foreign(
        &self,
        trial: &Trial,
        attached: &Attached<'_, Of<'k>>,
        first: u64,
        direction: Direction,
    ) {
        let piece = Piece { address: first * PAGE + 0x234, length: PAGE + 0x100 };
        let memory = Memory { pieces: vec![piece] };
        self.try_shared(trial, attached.map_foreign(OTHER, memory, direction), piece);
    }

    /// A mapping of this memory of the other domain, which ends here.
    fn try_shared<B>(
        &self,
        trial: &Trial,
        mapped: Result<Mapping<'_, Of<'k>, B>, MapFailed<B>>,
        memory: Piece,
    ) {
        let Trial { device, access, is_dropped, calls } = *trial;
        let mapping = match mapped {
            Ok(mapping) => mapping,
            Err(failed) => {
                self.mismatch(|| format!("map pages of another domain for {device}: {failed}"));
                return;
            }
        };
        if self.witness().counts.translations == calls {
            self.mismatch(|| format!("pages of another domain were kept for {device}"));
        }
        let Piece { address, length } = memory;
        let stretch = Stretch { bus: mapping.address(), memory: address, length };
        self.with_probe(device, |probe, witness| {
            probe.buffer(&stretch, access, &mut witness.chance, &mut witness.sum);
        });
        let unmapped = if is_dropped {
            drop(mapping);
            Ok(())
        } else {
            mapping.unmap().map(|_buffer| ()).map_err(|still| still.cause)
        };
        if let Err(error) = unmapped {
            self.mismatch(|| format!("unmap pages of another domain for {device}: {error}"));
        }
        let (bfn, gfn) = (stretch.bus / PAGE, address / PAGE);
        let pages = (address % PAGE + length).div_ceil(PAGE);
        let extent = Extent { bfn, gfn, pages, access };
        self.with_probe(device, |probe, witness| {
            probe.gone(&extent, &mut witness.chance, &mut witness.sum);
            witness.sum.shared += 1;
        });
    }

    /// Has a device try something of the other domain's.
    fn with_probe(
        &self,
        device: PciDevice,
        tries: impl FnOnce(Probe<'k, 'k>, &mut super::Witness<'k>),
    ) {
        let mut witness = self.witness();
        let probe = Probe { domain: OTHER, ..witness.probe(device) };
        tries(probe, &mut witness);
    }
}
