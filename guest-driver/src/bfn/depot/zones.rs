//! Zones: which part of the address space a frame lies in, so that a DMA mask is a number of zones.
//!
//! Borders lie where masks of devices end. A limit in between counts as the border below it, until
//! everything else fails.

#![forbid(unsafe_code)]

/// The first frame of each zone but the lowest: where masks of 24, 28, 30, 32, 36, 40, 44 and 48
/// bits end.
const BORDERS: [u64; 8] = [1 << 12, 1 << 16, 1 << 18, 1 << 20, 1 << 24, 1 << 28, 1 << 32, 1 << 36];

/// How many zones there are.
pub(super) const ZONES: usize = BORDERS.len() + 1;

/// The last frame below 4 GiB.
pub(in crate::bfn) const LOW_LAST: u64 = (1 << 20) - 1;
/// The lowest zone that is not below 4 GiB.
pub(in crate::bfn) const LOWEST_HIGH: usize = 4;

/// The zone of a frame.
pub(super) fn zone_of(frame: u64) -> usize {
    BORDERS.iter().fold(0, |zone, border| zone + usize::from(frame >= *border))
}

/// The last frame of a zone.
pub(super) fn last_of(zone: usize) -> u64 {
    BORDERS.get(zone).map_or(u64::MAX, |border| border.wrapping_sub(1))
}

/// What a device can be given: zones from `lowest` on, up to a frame.
#[derive(Clone, Copy, Debug)]
pub(in crate::bfn) struct Reach {
    /// The lowest zone to look in.
    pub(in crate::bfn) lowest: usize,
    /// The last frame.
    pub(in crate::bfn) limit: u64,
}

impl Reach {
    /// The zones that lie within it, of an aperture that ends at `last`: from `lowest` on, up to
    /// but without the one returned.
    pub(super) fn whole_zones(self, last: u64) -> usize {
        let zone = zone_of(self.limit);
        if self.limit >= last || self.limit == last_of(zone) { zone + 1 } else { zone }
    }
}
