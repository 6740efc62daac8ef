//! Where spaces and devices of a replay are: mappings borrow devices, and devices spaces, while both
//! come and go with the trace.

use std::cell::{Cell, OnceCell};

use pviommu_guest::dma::{DmaSpace, Kernel};

use super::handles::Attached;

/// Places that are filled one after another, and emptied all together.
pub(super) struct Places<T> {
    places: Vec<OnceCell<T>>,
    used: Cell<usize>,
}

impl<T> Places<T> {
    pub(super) fn new(count: usize) -> Self {
        Self { places: (0..count).map(|_| OnceCell::new()).collect(), used: Cell::new(0) }
    }

    /// Puts one more in, if there is room.
    pub(super) fn put(&self, item: T) -> Option<&T> {
        let place = self.places.get(self.used.get())?;
        self.used.set(self.used.get() + 1);
        Some(place.get_or_init(|| item))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(OnceCell::get)
    }
}

/// Both.
#[derive(Clone, Copy)]
pub(super) struct Arena<'m, 's, 'd, K: Kernel> {
    pub(super) storages: &'m [Box<super::session::Storage>],
    pub(super) spaces: &'s Places<DmaSpace<'m, K>>,
    pub(super) devices: &'d Places<Attached<'s, K>>,
}
