//! The machine changes while it runs: new groups are formed first, and hold only if nobody's would change.
//!
//! ```text
//!  plan (topology) ─► owners? ─► begin_regroup ─► registers ─► finish
//!                       │                            │
//!                       └ refused: all is as it was  └ not written: the larger of both groups hold
//! ```

use core::{convert::Infallible, fmt};

use super::{Iommu, NewGroup, RegroupError};
use crate::{
    platform::Platform,
    topology::{Change, Contradiction, Plan, RegisterChange, Topology},
};

/// Why the machine was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeError<E> {
    /// It cannot be changed like that.
    Impossible(Contradiction),
    /// Groups cannot change now: most of the time because somebody has one of those that would.
    Groups(RegroupError),
    /// This register could not be written. Some may have been: the groups are the larger ones of those
    /// before and after.
    NotWritten(RegisterChange, E),
}

impl<E: fmt::Display> fmt::Display for ChangeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible(contradiction) => contradiction.fmt(f),
            Self::Groups(error) => error.fmt(f),
            Self::NotWritten(register, error) => write!(
                f,
                "the register at {:#x} of {} could not be written: {error}",
                register.offset, register.space
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ChangeError<E> {}

impl<P: Platform> Iommu<'_, P> {
    /// Makes `change`: forms the groups that there will be, refuses if one that somebody has of would get or
    /// lose a member, has `write` write the registers that it takes, and regroups the devices. Nothing is
    /// locked while it writes.
    ///
    /// `groups` is room: an entry for each device. Functions that come or go: a device that is listed and
    /// absent is [plugged](Self::plug) in after its function was added, and taken out
    /// ([`unplug`](Self::unplug)) before its function is removed.
    ///
    /// # Errors
    /// [`ChangeError`]. With `NotWritten` registers may have been written, with [`RegroupError::Void`] all
    /// have; else nothing has changed.
    pub fn change_topology<E>(
        &self,
        topology: &mut Topology<'_>,
        change: Change<'_>,
        groups: &mut [NewGroup],
        mut write: impl FnMut(RegisterChange) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let plan = topology.plan(change).map_err(ChangeError::Impossible)?;
        if let Some(function) = plan.mixed() {
            return Err(ChangeError::Impossible(Contradiction::Mixed(function)));
        }
        let unknown = plan.writes().find(|(_, register)| register.is_none());
        if let Some((function, _)) = unknown {
            return Err(ChangeError::Impossible(Contradiction::NoControl(function)));
        }
        self.list_plan(&plan, groups).map_err(ChangeError::Groups)?;
        let regroup = self.begin_regroup(groups).map_err(ChangeError::Groups)?;
        let registers = || plan.writes().filter_map(|(_, register)| register);
        let written = registers().try_for_each(|register| {
            write(register).map_err(|error| ChangeError::NotWritten(register, error))
        });
        // What isolates less in part isolates less; what isolates more in part may be too little.
        if written.is_err() && !plan.weakens() {
            return written;
        }
        let finished = regroup.finish();
        plan.keep();
        written.and(finished.map_err(ChangeError::Groups))
    }

    /// Notes a `change` that has happened already: groups are what they are now. What somebody could reach
    /// of it that is not his is cut off, as [`group_changed`](Self::group_changed) says, which tells how many
    /// devices are concerned; the entries in `groups` tell which.
    ///
    /// # Errors
    /// [`ChangeError::Impossible`]: the machine cannot be like that. [`ChangeError::Groups`]: there is not an
    /// entry for each device.
    pub fn topology_changed(
        &self,
        topology: &mut Topology<'_>,
        change: Change<'_>,
        groups: &mut [NewGroup],
    ) -> Result<usize, ChangeError<Infallible>> {
        let plan = topology.plan(change).map_err(ChangeError::Impossible)?;
        self.list_plan(&plan, groups).map_err(ChangeError::Groups)?;
        plan.keep();
        self.group_changed(groups).map_err(ChangeError::Groups)
    }

    /// Lists the groups of the devices as `topology` has them, in their order.
    ///
    /// # Errors
    /// [`RegroupError::WrongLength`]: there is not an entry for each device.
    pub fn list_groups(
        &self,
        topology: &Topology<'_>,
        groups: &mut [NewGroup],
    ) -> Result<(), RegroupError> {
        if groups.len() != self.devices().len() {
            return Err(RegroupError::WrongLength);
        }
        for (device, entry) in self.devices().iter().zip(groups) {
            let group = topology.group_of(device.function());
            let untranslated = group.is_some_and(|group| !group.is_translated());
            let number = group.map(|group| group.number());
            *entry = NewGroup::new(number).beside_untranslated(untranslated);
        }
        Ok(())
    }

    /// Lists the groups as they will be. A group changes also by functions that are no device here: those
    /// behind no unit, and those that are not plugged in yet or go.
    fn list_plan(&self, plan: &Plan<'_, '_>, groups: &mut [NewGroup]) -> Result<(), RegroupError> {
        self.list_groups(plan.topology(), groups)?;
        for function in plan.regrouped().chain(plan.removed()) {
            let device = self.device(function.address).and_then(|device| self.index(device));
            if let Some(entry) = device.and_then(|device| groups.get_mut(device)) {
                entry.set_regrouped();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pviommu_abi::{DomId, PciDevice};

    use super::*;
    use crate::topology::RegisterSpace;

    #[test]
    fn a_change_that_is_not_made_says_what_is_in_its_way() {
        let device = PciDevice::new(0, 0, 3, 0);
        let register = |space, offset| RegisterChange {
            space,
            offset,
            bytes: 2,
            clear: 0,
            set: 1,
            unless: None,
        };
        let words = [
            (
                ChangeError::Impossible(Contradiction::Unknown(device)),
                "there is no function 0000:00:03.0",
            ),
            (
                ChangeError::Groups(RegroupError::WrongLength),
                "there is not one group for each device",
            ),
            (
                ChangeError::Groups(RegroupError::Busy),
                "groups or owners are being changed by somebody else",
            ),
            (
                ChangeError::Groups(RegroupError::Owned(device, DomId(4))),
                "the group of 0000:00:03.0 would change, which domain 4 has",
            ),
            (ChangeError::Groups(RegroupError::Void), "groups have changed otherwise meanwhile"),
            (
                ChangeError::NotWritten(
                    register(RegisterSpace::Config(device), 0x106),
                    "no access",
                ),
                "the register at 0x106 of the configuration space of 0000:00:03.0 could not be written: no access",
            ),
            (
                ChangeError::NotWritten(
                    register(RegisterSpace::Memory(0xfed1_c000), 0x1014),
                    "it is locked",
                ),
                "the register at 0x1014 of machine memory from 0xfed1c000 on could not be written: it is locked",
            ),
        ];
        for (error, said) in words {
            assert_eq!(error.to_string(), said);
        }
    }
}
