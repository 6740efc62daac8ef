//! What a device may do with a buffer, and how that is said.

use pviommu_abi::{ElementFlags, MapFlags};

/// Which way the data goes. The device may do no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice,
    /// The device reads and writes.
    Both,
}

/// Permissions in both forms that the ABI has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    pub(crate) map: MapFlags,
    pub(crate) element: ElementFlags,
}

impl Access {
    /// For data that goes in this direction; `cache` if the processors' caches are to see it.
    pub(crate) fn new(direction: Direction, cache: bool) -> Self {
        let reads = matches!(direction, Direction::ToDevice | Direction::Both);
        let writes = matches!(direction, Direction::FromDevice | Direction::Both);
        let mut access = Self { map: MapFlags::empty(), element: ElementFlags::empty() };
        access.map.set(MapFlags::READABLE, reads);
        access.map.set(MapFlags::WRITEABLE, writes);
        access.map.set(MapFlags::CACHE, cache);
        access.element.set(ElementFlags::READ, reads);
        access.element.set(ElementFlags::WRITE, writes);
        access.element.set(ElementFlags::CACHE, cache);
        access
    }
}
