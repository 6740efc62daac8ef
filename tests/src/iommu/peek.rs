//! Where an access would go, without making it: for checks at instants when no device asked.

use pviommu_abi::PciDevice;

use super::{
    fault::{Direction, FaultReason},
    iotlb::Cached,
    unit::{State, UnitModel},
    walker::{self, Walk},
};
use crate::{machine::memory::Memory, sync::lock};

impl UnitModel {
    /// What would become of an access by `device` at `address`. Nothing is cached and no fault is
    /// recorded; what is cached counts.
    ///
    /// # Errors
    /// Why it would be refused.
    pub(crate) fn peek(
        &self,
        memory: &Memory,
        device: PciDevice,
        address: u64,
        direction: Direction,
    ) -> Result<Cached, FaultReason> {
        let mut state = lock(&self.state);
        let State { devices, tags, buffer, .. } = &mut *state;
        let owner = devices.owner(device);
        let bfn = address >> 12;
        let (top, tag) = self.way(devices.in_use(device), bfn)?;
        let cache = tags.get(&tag.0);
        let known = cache.and_then(|cache| cache.iotlb.find(bfn));
        let found = match known {
            Some(cached) => cached,
            None if cache.is_some_and(|cache| cache.absent.covers(bfn)) => {
                return Err(FaultReason::NotPresent);
            }
            None => {
                let place = cache.and_then(|cache| cache.paging.find(bfn)).unwrap_or(top);
                let read = |place, index| buffer.entry(&memory.tables, &self.facts, place, index);
                match walker::walk_by(read, &self.facts, place, bfn, |_| ()) {
                    Walk::Leaf { frame, level, rights, soft } => {
                        let basis = memory.rules.basis(soft, owner);
                        let mut cached = Cached { bfn, frame, level, rights, soft, basis };
                        cached.bfn &= !(cached.pages() - 1);
                        cached
                    }
                    Walk::NotPresent { .. } | Walk::LeftBehind { .. } => {
                        return Err(FaultReason::NotPresent);
                    }
                    Walk::Reserved { .. } => return Err(FaultReason::ReservedBits),
                    Walk::BadTable { .. } => return Err(FaultReason::BadTable),
                }
            }
        };
        match direction {
            Direction::Read if !found.rights.read => Err(FaultReason::NotReadable),
            Direction::Write if !found.rights.write => Err(FaultReason::NotWritable),
            _ => Ok(found),
        }
    }
}
