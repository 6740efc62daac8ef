//! A set of the numbers of one bus.

/// A set of device and function numbers of one bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::topology) struct DevfnSet([u64; 4]);

impl DevfnSet {
    /// All 256.
    pub(in crate::topology) const ALL: Self = Self([u64::MAX; 4]);

    /// Adds `devfn`.
    pub(in crate::topology) fn insert(&mut self, devfn: u8) {
        if let Some(word) = self.0.get_mut(usize::from(devfn >> 6)) {
            *word |= 1 << (devfn & 63);
        }
    }

    /// Takes `devfn` away.
    pub(in crate::topology) fn remove(&mut self, devfn: u8) {
        if let Some(word) = self.0.get_mut(usize::from(devfn >> 6)) {
            *word &= !(1 << (devfn & 63));
        }
    }

    /// True if `devfn` is in it.
    pub(in crate::topology) fn contains(&self, devfn: u8) -> bool {
        self.0.get(usize::from(devfn >> 6)).is_some_and(|word| word >> (devfn & 63) & 1 == 1)
    }

    /// True if nothing is in it.
    pub(in crate::topology) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those in it, rising.
    pub(in crate::topology) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |devfn| self.contains(*devfn))
    }
}

impl FromIterator<u8> for DevfnSet {
    fn from_iter<I: IntoIterator<Item = u8>>(devfns: I) -> Self {
        let mut set = Self::default();
        devfns.into_iter().for_each(|devfn| set.insert(devfn));
        set
    }
}
