//! What drivers have mapped in a trace and not unmapped yet, to be found by what an unmap says.

use std::collections::VecDeque;

use pviommu_abi::PciDevice;
use rustc_hash::FxHashMap;

use crate::trace::DmaDirection;

/// What a map is known by when it is undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opened {
    pub(super) device: PciDevice,
    pub(super) direction: DmaDirection,
    /// The bus address in the trace; of a scatter list, the address of its first piece in memory.
    pub(super) bus: u64,
}

/// One map: how long it is, in bytes or pieces, its direction, and its number.
#[derive(Clone, Copy, Debug)]
struct Entry {
    length: u64,
    direction: DmaDirection,
    number: usize,
}

/// Maps by function and address, the oldest first: a processor may use a bus address again before
/// another has told that it unmapped there.
type Table = FxHashMap<(u32, u64), VecDeque<Entry>>;

/// All of them.
#[derive(Default, Debug)]
pub(super) struct Open {
    ranges: Table,
    lists: Table,
}

impl Open {
    /// Adds the map with this number of `bytes` bytes.
    pub(super) fn put(&mut self, name: Opened, bytes: u64, number: usize) {
        put(&mut self.ranges, name, bytes, number);
    }

    /// Adds a scatter list of `pieces` pieces.
    pub(super) fn put_list(&mut self, name: Opened, pieces: u64, number: usize) {
        put(&mut self.lists, name, pieces, number);
    }

    /// Takes a map out: of those there the one that is alike in all, or else the oldest.
    pub(super) fn take(&mut self, name: &Opened, bytes: u64) -> Option<usize> {
        take(&mut self.ranges, name, bytes)
    }

    /// The same for a scatter list.
    pub(super) fn take_list(&mut self, name: &Opened, pieces: u64) -> Option<usize> {
        take(&mut self.lists, name, pieces)
    }
}

fn put(table: &mut Table, name: Opened, length: u64, number: usize) {
    let Opened { device, direction, bus } = name;
    let entry = Entry { length, direction, number };
    table.entry((device.sbdf(), bus)).or_default().push_back(entry);
}

fn take(table: &mut Table, name: &Opened, length: u64) -> Option<usize> {
    let key = (name.device.sbdf(), name.bus);
    let there = table.get_mut(&key)?;
    let alike = |entry: &Entry| entry.length == length && entry.direction == name.direction;
    let place = there.iter().position(alike).unwrap_or(0);
    let entry = there.remove(place)?;
    if there.is_empty() {
        table.remove(&key);
    }
    Some(entry.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(device: u8, bus: u64) -> Opened {
        let device = PciDevice::new(0, 0, device, 0);
        Opened { device, direction: DmaDirection::ToDevice, bus }
    }

    #[test]
    fn the_oldest_of_those_alike_goes_first() {
        let mut open = Open::default();
        for (number, (device, bytes)) in [(1, 8), (1, 16), (1, 8), (2, 8)].into_iter().enumerate() {
            open.put(name(device, 0x1000), bytes, number);
        }
        assert_eq!(open.take(&name(1, 0x1000), 16), Some(1));
        assert_eq!(open.take(&name(1, 0x1000), 8), Some(0));
        assert_eq!(open.take(&name(1, 0x1000), 99), Some(2), "whatever its length");
        assert_eq!(open.take(&name(1, 0x1000), 8), None);
        assert_eq!(open.take(&name(2, 0x1000), 8), Some(3));
    }

    #[test]
    fn lists_are_found_by_their_memory() {
        let mut open = Open::default();
        open.put(name(1, 0x5000), 2, 0);
        open.put_list(name(1, 0x5000), 2, 1);
        assert_eq!(open.take_list(&name(1, 0x5000), 2), Some(1));
        assert_eq!(open.take_list(&name(1, 0x5000), 2), None);
    }
}
