//! Which functions are behind which unit, and which memory they use.

use pviommu_abi::PciDevice;

use super::{
    super::{AcpiError, Facts, NoRoom, Problem, lists::List, physical, sender},
    Dmar,
};
use crate::{
    platform::{Access, UnitId},
    topology::{DirectRange, Function, Window},
};

impl Dmar<'_> {
    /// The unit that requests of this function go through: the one with a device scope that names it
    /// or a bridge above it, or else the one that has all others of its segment. A virtual function is
    /// where its physical one is, and who sends in another's name is where that one is (section 8.3).
    /// `None`: it is behind no unit.
    ///
    /// # Errors
    /// Two units have it: one names it, and another a bridge above it, or both a bridge.
    pub fn unit_of(
        &self,
        function: PciDevice,
        facts: &Facts<'_>,
    ) -> Result<Option<UnitId>, AcpiError> {
        let function = sender(function, facts);
        let function = physical(function, facts).unwrap_or(function);
        let (mut named, mut all_others) = (None, None);
        for (id, unit) in self.units().filter(|(_, unit)| unit.segment == function.seg) {
            if unit.include_pci_all {
                all_others = Some(id);
            }
            let mut scopes = unit.scopes();
            let Some(scope) = scopes.find(|it| it.covers(unit.segment, function, facts)) else {
                continue;
            };
            if named.replace(id).is_some() {
                return Err(AcpiError::new(scope.offset, Problem::TwoUnits(function)));
            }
        }
        Ok(named.or(all_others))
    }

    /// Lists in `room` the memory that each of `functions` uses by an RMRR, in ascending order of where
    /// it begins, as [`Firmware::direct`](crate::topology::Firmware::direct) wants it. `relaxable` says
    /// of a function whether its driver, once it runs, no longer needs the memory.
    ///
    /// # Errors
    /// There is no room for all.
    pub fn direct_ranges<'f, 'r>(
        &self,
        functions: impl Iterator<Item = &'f Function>,
        facts: &Facts<'_>,
        relaxable: impl Fn(&Function) -> bool,
        room: &'r mut [DirectRange],
    ) -> Result<&'r [DirectRange], NoRoom> {
        let mut list = List::new(room);
        for function in functions {
            let address = function.address;
            for memory in self.reserved_memory() {
                if memory.scopes().any(|scope| scope.covers(memory.segment, address, facts)) {
                    list.push(DirectRange {
                        function: address,
                        bytes: Window { first: memory.base, last: memory.limit },
                        relaxable: relaxable(function),
                        access: Access::READ | Access::WRITE,
                    });
                }
            }
        }
        list.finish()
    }
}
