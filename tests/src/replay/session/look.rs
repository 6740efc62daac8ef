//! Finding the tables of a replay by what hardware knows: the entries of devices.

use pviommu_abi::{ContextId, PciDevice};
use pviommu_hypervisor::platform::{TableRoot, UnitId};

use super::Session;
use crate::trace::{DomainId, RegionKind};

/// One address space as a replay has left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The domain of the trace.
    pub domain: DomainId,
    /// The context it is.
    pub context: ContextId,
    /// The functions in it.
    pub devices: Vec<PciDevice>,
    /// The root of its table, and a unit that walks it; `None` if no device entry names it.
    pub root: Option<(UnitId, TableRoot)>,
}

impl Session<'_, '_> {
    /// The address spaces there are, in the order of their domains.
    pub(in crate::replay) fn look(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for domain in self.spaces.domains() {
            let Some(space) = self.spaces.get(domain) else { continue };
            let (context, devices) = (space.context, space.members().to_vec());
            let root = match devices.first() {
                Some(device) => self.entry_of(*device),
                None => self.entry_of_a_guest(context),
            };
            seen.push(Seen { domain, context, devices, root });
        }
        seen
    }

    fn entry_of(&self, device: PciDevice) -> Option<(UnitId, TableRoot)> {
        let unit = self.bed.board().device(device)?.unit;
        let (root, _) = self.bed.board().unit(unit)?.device_entry(device).table()?;
        Some((unit, root))
    }

    /// The same for a context that has no device: one is put in, and back. It must be one that
    /// brings no mapping of its own.
    fn entry_of_a_guest(&self, context: ContextId) -> Option<(UnitId, TableRoot)> {
        let direct = [RegionKind::Direct, RegionKind::DirectRelaxable];
        let harmless = self
            .plan
            .devices
            .iter()
            .filter(|(_, regions)| regions.iter().all(|region| !direct.contains(&region.kind)));
        harmless.map(|(sbdf, _)| PciDevice::from_sbdf(*sbdf)).find_map(|device| {
            let home = self.spaces.context_of(device);
            self.driver.attach(device, context).ok()?;
            let entry = self.entry_of(device);
            self.driver.attach(device, home).ok()?;
            entry
        })
    }
}
