//! Devices change hands, and the machine is told whose they are.

use pviommu_abi::{DomId, Errno, PciDevice};
use pviommu_hypervisor::ReassignError;

use super::bed::Bed;

impl Bed<'_> {
    /// Gives a device to a domain, which can name it from then on, and with it all of its group.
    ///
    /// # Errors
    /// What the service says.
    pub fn assign(&self, domain: DomId, function: PciDevice) -> Result<(), Errno> {
        let nobodys = self.of_group(function, None);
        // From the first access in its tables on they are this domain's.
        nobodys.iter().for_each(|member| self.board().expect_owner(*member, Some(domain)));
        let given = self.iommu().assign(self.domain(domain), 0, function);
        for member in nobodys {
            match given {
                Ok(()) => self.note_owner(member),
                // Which of the two tables it is in is unknown.
                Err(Errno::EIO) => {}
                Err(_) => self.board().expect_owner(member, None),
            }
        }
        given
    }

    /// Takes a device from a domain, with all that were given with it.
    ///
    /// # Errors
    /// What the service says.
    pub fn unassign(&self, domain: DomId, cpu: usize, function: PciDevice) -> Result<(), Errno> {
        let before = self.all_of(domain);
        self.iommu().unassign(self.domain(domain), cpu, function)?;
        before.into_iter().for_each(|member| self.note_owner(member));
        Ok(())
    }

    /// Takes a group from one domain and gives it to another.
    ///
    /// # Errors
    /// What the service says.
    pub fn reassign(
        &self,
        from: DomId,
        to: DomId,
        function: PciDevice,
    ) -> Result<(), ReassignError> {
        let group = self.of_group(function, Some(from));
        let (giver, taker) = (self.domain(from), self.domain(to));
        group.iter().for_each(|member| self.board().set_on_its_way(*member, true));
        let given = self.iommu().reassign(giver, taker, self.own_cpu(), function);
        for member in group {
            self.board().set_on_its_way(member, false);
            self.note_owner(member);
        }
        given
    }

    /// Tells the machine whose a device is, as the service has it.
    pub fn note_owner(&self, function: PciDevice) {
        let stats = self.iommu().device_stats(function);
        if let Some(owner) = stats.map(|stats| stats.owner) {
            self.board().set_device_owner(function, owner);
            if owner.is_some() {
                self.board().guard(function);
            }
        }
    }

    /// The devices of the group of `function` that `owner` has.
    fn of_group(&self, function: PciDevice, owner: Option<DomId>) -> Vec<PciDevice> {
        let Some(asked) = self.iommu().device_stats(function) else { return Vec::new() };
        let all = self.board().devices.iter().map(|device| device.function);
        let stats = all.filter_map(|function| self.iommu().device_stats(function));
        let members = stats.filter(|it| {
            let same = asked.group.is_some() && it.group == asked.group;
            (same || it.function == asked.function) && it.owner == owner
        });
        members.map(|it| it.function).collect()
    }

    fn all_of(&self, domain: DomId) -> Vec<PciDevice> {
        let all = self.board().devices.iter().map(|device| device.function);
        all.filter(|function| self.board().device_owner(*function) == Some(domain)).collect()
    }
}
