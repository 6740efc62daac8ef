//! Which device a request is of, by the id that it carries.
//!
//! A fault interrupt asks that, and machines have thousands of functions: so the ids stand in a sorted
//! list, in memory that the embedder lends.

use pviommu_abi::PciDevice;

use super::{Device, Iommu, Machine, SetupError};
use crate::{platform::SourceId, sort::sort_by_key};

/// A requester id and whose it is: an entry of [`Machine::sources`]. 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceEntry {
    id: u32,
    /// Where its device is in the list, and whether a function is called so.
    place: u32,
}

const _: () = assert!(size_of::<SourceEntry>() == 8);

/// In the place of an id: a function of the device is called so; else only its requests are.
const IS_FUNCTION: u32 = 1 << 31;

impl SourceEntry {
    fn device(self) -> Option<usize> {
        usize::try_from(self.place & !IS_FUNCTION).ok()
    }
}

impl Machine<'_> {
    /// How many ids the requests of `devices` carry: so many entries has [`Machine::sources`].
    #[must_use]
    pub fn count_sources(devices: &[Device<'_>]) -> usize {
        devices.iter().map(Device::count_sources).fold(0, usize::saturating_add)
    }

    /// Makes the list that [`Machine::sources`] is to be, in `room`.
    ///
    /// # Errors
    /// [`SetupError::DevicesNotSorted`], [`SetupError::SharedSource`]: what is wrong with `devices`.
    /// [`SetupError::NoRoomForSources`]: `room` is too short.
    pub fn index_sources<'r>(
        devices: &[Device<'_>],
        room: &'r mut [SourceEntry],
    ) -> Result<&'r [SourceEntry], SetupError> {
        check_order(devices)?;
        let needed = Self::count_sources(devices);
        let entries = room.get_mut(..needed).ok_or(SetupError::NoRoomForSources(needed))?;
        let places = (0..IS_FUNCTION).zip(devices);
        let all = places.flat_map(|(place, device)| {
            let functions = device.functions().map(move |function| (function, place | IS_FUNCTION));
            functions.chain(device.aliases().iter().map(move |alias| (alias.0, place)))
        });
        for (entry, (id, place)) in entries.iter_mut().zip(all) {
            *entry = SourceEntry { id: id.sbdf(), place };
        }
        sort_by_key(entries, |entry| (entry.id, entry.place));
        let mut pairs = entries.iter().zip(entries.iter().skip(1));
        match pairs.find(|(one, next)| one.id == next.id) {
            Some((_, again)) => {
                let id = PciDevice::from_sbdf(again.id);
                let device = again.device().and_then(|place| devices.get(place));
                Err(SetupError::SharedSource(device.map_or(id, Device::function), SourceId(id)))
            }
            None => Ok(entries),
        }
    }
}

/// Checks that each device comes after the one before it.
pub(super) fn check_order(devices: &[Device<'_>]) -> Result<(), SetupError> {
    let mut pairs = devices.iter().zip(devices.iter().skip(1));
    match pairs.find(|(one, next)| one.function().sbdf() >= next.function().sbdf()) {
        Some((_, next)) => Err(SetupError::DevicesNotSorted(next.function())),
        None => Ok(()),
    }
}

impl<'a, P> Iommu<'a, P> {
    /// The device that `function` is a function of.
    pub(crate) fn device(&self, function: PciDevice) -> Option<&Device<'a>> {
        let entry = self.entry(function)?;
        let named = entry.place & IS_FUNCTION != 0;
        self.machine.devices.get(entry.device()?).filter(|_| named)
    }

    /// The device whose requests carry `source`.
    pub(crate) fn device_of(&self, source: SourceId) -> Option<&Device<'a>> {
        self.machine.devices.get(self.entry(source.0)?.device()?)
    }

    /// Where a device is in the list.
    pub(super) fn index(&self, device: &Device<'_>) -> Option<usize> {
        self.entry(device.function())?.device()
    }

    fn entry(&self, id: PciDevice) -> Option<SourceEntry> {
        let sources = self.machine.sources;
        let found = sources.binary_search_by_key(&id.sbdf(), |entry| entry.id).ok()?;
        sources.get(found).copied()
    }

    /// Checks that the list of ids is what [`Machine::index_sources`] makes of the devices.
    pub(super) fn check_sources(&self) -> Result<(), SetupError> {
        let Machine { devices, sources, .. } = self.machine;
        let mut pairs = sources.iter().zip(sources.iter().skip(1));
        let sorted = pairs.all(|(one, next)| one.id < next.id);
        if !sorted || sources.len() != Machine::count_sources(devices) {
            return Err(SetupError::SourcesNotIndexed);
        }
        let same = |one: Option<&Device<'_>>, device: &Device<'_>| {
            one.is_some_and(|one| one.function() == device.function())
        };
        let told = devices.iter().all(|device| {
            device.functions().all(|function| same(self.device(function), device))
                && device.aliases().iter().all(|alias| {
                    same(self.device_of(*alias), device) && self.device(alias.0).is_none()
                })
        });
        if told { Ok(()) } else { Err(SetupError::SourcesNotIndexed) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::platform::UnitId;

    fn function(id: u32) -> PciDevice {
        PciDevice::from_sbdf(id)
    }

    #[test]
    fn an_index_lists_every_id_once_in_order() {
        let (more, aliases) = ([function(9), function(2)], [SourceId(function(5))]);
        let devices = [
            Device::new(function(1), UnitId(0), &[]).with_functions(&more),
            Device::new(function(7), UnitId(0), &[]).with_aliases(&aliases),
        ];
        let mut room = [SourceEntry::default(); 8];
        assert_eq!(Machine::count_sources(&devices), 5);
        let index = Machine::index_sources(&devices, &mut room).unwrap();
        let told: Vec<_> = index.iter().map(|it| (it.id, it.device().unwrap())).collect();
        assert_eq!(told, [(1, 0), (2, 0), (5, 1), (7, 1), (9, 0)]);
        let named: Vec<_> = index.iter().map(|it| it.place & IS_FUNCTION != 0).collect();
        assert_eq!(named, [true, true, false, true, true]);
    }

    #[test]
    fn an_index_is_refused_for_an_id_of_two_and_for_want_of_room() {
        let (more, aliases) = ([function(7)], [SourceId(function(1))]);
        let mut room = [SourceEntry::default(); 3];
        let one = || Device::new(function(1), UnitId(0), &[]);
        let other = || Device::new(function(7), UnitId(0), &[]);
        let mut refusal = |devices: &[Device<'_>]| Machine::index_sources(devices, &mut room).err();
        let shared =
            |device, id| Some(SetupError::SharedSource(function(device), SourceId(function(id))));
        assert_eq!(refusal(&[one().with_functions(&more), other()]), shared(7, 7));
        assert_eq!(refusal(&[one(), other().with_aliases(&aliases)]), shared(1, 1));
        assert_eq!(refusal(&[one().with_aliases(&aliases)]), shared(1, 1));
        assert_eq!(refusal(&[other(), one()]), Some(SetupError::DevicesNotSorted(function(1))));
        let four = [
            one().with_functions(&more).with_aliases(&aliases),
            Device::new(function(9), UnitId(0), &[]),
        ];
        assert_eq!(refusal(&four), Some(SetupError::NoRoomForSources(4)));
    }
}
