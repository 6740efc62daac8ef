//! Risks with a device that somebody has to take by name.

use pviommu_abi::{Errno, PciDevice};

use super::{Device, Iommu};
use crate::platform::Platform;

bitflags::bitflags! {
    /// What may be done with a device although it is a risk. Each time that one is accepted, and each time
    /// that a device is given because of one, the log is told.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Risks: u32 {
        /// It may be given without the rest of its group, and while others have the rest, if they were
        /// given those in the same way: whoever administers these domains is trusted. What is of one
        /// group may reach each other's memory and registers without the IOMMU.
        const SPLIT_GROUP = 1 << 0;
        /// It may be given to an ordinary guest although it can raise interrupts that it was not given.
        const UNSAFE_INTERRUPTS = 1 << 1;
        /// It may be given to an ordinary guest although a function of its group is behind no unit.
        const UNTRANSLATED_NEIGHBOUR = 1 << 2;
    }
}

/// For which devices a risk is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The one that is named.
    Device,
    /// All that are of its group now.
    Group,
}

impl<P: Platform> Iommu<'_, P> {
    /// From now on exactly `risks` are accepted with the device `function`, or with all of its group. What
    /// has been given stays given.
    ///
    /// # Errors
    /// `-ENODEV`: it is not behind an IOMMU. `-EAGAIN`: one of them is on its way from one domain to
    /// another, or its group is being changed; then nothing has changed.
    pub fn accept_risks(
        &self,
        function: PciDevice,
        scope: Scope,
        risks: Risks,
    ) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let concerned =
            |other: &&Device<'_>| scope == Scope::Group || other.function() == device.function();
        let members = || self.members(device).filter(concerned);
        {
            let _grouping = self.grouping.lock();
            if members().any(|member| member.state.lock().held.is_some()) {
                return Err(Errno::EAGAIN);
            }
            members().for_each(|member| member.set_risks(risks));
        }
        for member in members() {
            crate::report::warn!(
                "pviommu: of {}, these risks are accepted: {risks:?}",
                member.function()
            );
        }
        Ok(())
    }
}
