//! Device ids of one vendor, as the tables write them.

/// Some device ids.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ids {
    /// From the first to the last.
    Range(u16, u16),
    /// The even ones from the first to the last.
    Even(u16, u16),
    /// One by one.
    These(&'static [u16]),
}

/// Every device of the vendor.
pub(super) const ANY: &[Ids] = &[Ids::Range(0, u16::MAX)];

/// True if `device` is in one of `ids`.
pub(super) fn contain(ids: &[Ids], device: u16) -> bool {
    ids.iter().any(|ids| match *ids {
        Ids::Range(first, last) => (first..=last).contains(&device),
        Ids::Even(first, last) => (first..=last).contains(&device) && device & 1 == 0,
        Ids::These(list) => list.contains(&device),
    })
}
