//! Where an access would go, without making it: for checks at instants when no device asked.

use pviommu_abi::PciDevice;

use super::{
    fault::{Direction, FaultReason},
    iotlb::Cached,
    unit::{State, UnitModel},
    walker::{self, Place, Rights, Walk},
};
use crate::machine::{frames::lock, memory::Memory};

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
        let (root, tag) = devices.in_use(device).table().ok_or(FaultReason::Blocked)?;
        let bfn = address >> 12;
        if !walker::in_width(&self.facts, root.levels, bfn) {
            return Err(FaultReason::AddressWidth);
        }
        let cache = tags.get(&tag.0);
        let known = cache.and_then(|cache| cache.iotlb.find(bfn));
        let found = match known {
            Some(cached) => cached,
            None if cache.is_some_and(|cache| cache.absent.covers(bfn)) => {
                return Err(FaultReason::NotPresent);
            }
            None => {
                let top = Place { table: root.frame, level: root.levels, rights: Rights::ALL };
                let place = cache.and_then(|cache| cache.paging.find(bfn)).unwrap_or(top);
                let read = |place, index| buffer.entry(&memory.tables, &self.facts, place, index);
                match walker::walk_by(read, &self.facts, place, bfn, |_| ()) {
                    Walk::Leaf { frame, level, rights, soft } => {
                        let basis = memory.rules.basis(soft, owner);
                        let mut cached = Cached { bfn, frame, level, rights, soft, basis };
                        cached.bfn &= !(cached.pages() - 1);
                        cached
                    }
                    Walk::NotPresent { .. } => return Err(FaultReason::NotPresent),
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
