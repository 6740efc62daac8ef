//! Which functions are behind which unit, which ids they use, and which memory.

use pviommu_abi::PciDevice;

use super::{
    super::{Facts, NoRoom, lists::List, physical, sender},
    Ivhd, Ivrs,
    ivhd::{id_of, of_segment},
};
use crate::{
    platform::{SourceId, UnitId},
    topology::{DirectRange, Function, IdAlias},
};

impl Ivrs<'_> {
    /// The unit that requests of this function go through: the one with an entry that names it, or else
    /// the one that has all others of its segment. A virtual function that no entry names is where its
    /// physical one is, and who sends in another's name is where that one is. `None`: it is behind no
    /// unit, as those are that are units themselves.
    #[must_use]
    pub fn unit_of(&self, function: PciDevice, facts: &Facts<'_>) -> Option<UnitId> {
        let sender = sender(function, facts);
        // By its own name, too: what is said to send for it may be a mistake.
        if self.is_unit(function) || self.is_unit(sender) {
            return None;
        }
        let function = sender;
        let own = self.naming(function);
        let named = own.or_else(|| self.naming(physical(function, facts)?));
        named.or_else(|| {
            let here = self.definitions().filter(|unit| unit.function.seg == function.seg);
            let mut all_others = here.filter(Ivhd::has_all_others);
            self.number_of(&all_others.find(|unit| self.is_highest(unit))?)
        })
    }

    /// Lists in `room` the id that requests of each of `functions` carry besides its own, if any, in
    /// ascending order of ids, as [`Firmware::aliases`](crate::topology::Firmware::aliases) wants it.
    ///
    /// # Errors
    /// There is no room for all.
    pub fn aliases<'f, 'r>(
        &self,
        functions: impl Iterator<Item = &'f Function>,
        room: &'r mut [IdAlias],
    ) -> Result<&'r [IdAlias], NoRoom> {
        let mut list = List::new(room);
        for function in functions {
            if let Some(id) = self.carried(function.address) {
                list.push(IdAlias { function: function.address, id });
            }
        }
        list.finish()
    }

    /// Lists in `room` the memory that each of `functions` uses by an IVMD, in ascending order of where
    /// it begins, as [`Firmware::direct`](crate::topology::Firmware::direct) wants it. Functions that are
    /// units have none.
    ///
    /// # Errors
    /// There is no room for all.
    pub fn direct_ranges<'f, 'r>(
        &self,
        functions: impl Iterator<Item = &'f Function>,
        room: &'r mut [DirectRange],
    ) -> Result<&'r [DirectRange], NoRoom> {
        let mut list = List::new(room);
        for function in functions.map(|it| it.address).filter(|it| !self.is_unit(*it)) {
            for memory in self.memory().filter(|memory| memory.is_of(function)) {
                let (bytes, access) = (memory.bytes, memory.access());
                if !access.is_empty() {
                    list.push(DirectRange { function, bytes, relaxable: false, access });
                }
            }
        }
        list.finish()
    }

    /// The id that requests of this function carry by the last entry with one, if not its own.
    fn carried(&self, function: PciDevice) -> Option<SourceId> {
        let id = id_of(function);
        let units = self.definitions().filter(|unit| unit.names(function) && self.is_highest(unit));
        let spans = units.flat_map(|unit| unit.spans()).filter(|span| span.has(id));
        let carried = spans.fold(None, |found, span| span.carried.or(found));
        carried.filter(|carried| *carried != id).map(|it| SourceId(of_segment(function.seg, it)))
    }

    /// The unit with an entry that names this function.
    fn naming(&self, function: PciDevice) -> Option<UnitId> {
        let mut naming = self.definitions().filter(|unit| unit.names(function));
        self.number_of(&naming.find(|unit| self.is_highest(unit))?)
    }

    /// The number of a unit.
    fn number_of(&self, unit: &Ivhd<'_>) -> Option<UnitId> {
        self.units().find(|(_, it)| it.function == unit.function).map(|(id, _)| id)
    }

    /// True if this function is a unit.
    fn is_unit(&self, function: PciDevice) -> bool {
        self.definitions().any(|unit| unit.function == function)
    }
}
