//! What the tables of a machine look like: what all of its units can walk.

use pviommu_abi::Bfn;

use super::{SetupError, Unit};
use crate::{
    addr::{BfnRange, Mfn, MfnRange, PAGE_SHIFT},
    format::LeafAttributes,
    platform::UnitFeatures,
    table::TableStyle,
};

/// The format of the tables, chosen once. Dispatched on once a call, never once a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FormatKind {
    /// VT-d second stage.
    VtdSecondStage,
}

/// Runs `$body` with `$format` standing for the type of the format `$kind`. The only place that
/// lists them.
macro_rules! with_format {
    ($kind:expr, $format:ident => $body:expr) => {
        match $kind {
            $crate::machine::FormatKind::VtdSecondStage => {
                type $format = $crate::format::VtdSecondStage;
                $body
            }
        }
    };
}
pub(crate) use with_format;

/// Depth, leaf sizes and address widths that every unit has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) format: FormatKind,
    pub(crate) levels: u8,
    pub(crate) aperture: BfnRange,
    pub(crate) style: TableStyle,
    /// Frames no unit can or may put out.
    pub(crate) unreachable: [MfnRange; 2],
}

/// The interrupt address range of x86, 0xfee0_0000 to 0xfeef_ffff: as a bus address it is an
/// interrupt request and never translated, as an output it is blocked (VT-d 4.1, section 3.15).
pub(crate) const INTERRUPT_FIRST: u64 = 0xfee00;
const INTERRUPT_PAGES: u64 = 0x100;

/// The x86 interrupt address range, as frames of any kind.
pub(crate) fn interrupt_range<F: crate::addr::Frame>() -> crate::addr::FrameRange<F> {
    let first = F::from_number(INTERRUPT_FIRST);
    crate::addr::FrameRange::of_pages(first, INTERRUPT_PAGES)
        .unwrap_or_else(|| crate::addr::FrameRange::single(first))
}

impl Geometry {
    /// What all of `units` have in common.
    pub(crate) fn common(units: &[Unit<'_>]) -> Result<Self, SetupError> {
        if units.is_empty() {
            return Err(SetupError::NoUnit);
        }
        let facts = || units.iter().map(Unit::facts);
        let features = facts().fold(UnitFeatures::all(), |all, unit| all & unit.features);
        let bus_bits = facts().map(|unit| unit.bus_address_bits).min().unwrap_or(0);
        let host_bits = facts().map(|unit| unit.host_address_bits).min().unwrap_or(0);
        let levels = levels(features, bus_bits).ok_or(SetupError::NoCommonLevels)?;
        let walked_bits = u32::from(levels).saturating_mul(9).saturating_add(PAGE_SHIFT);
        let aperture_bits = u32::from(bus_bits).min(walked_bits).saturating_sub(PAGE_SHIFT);
        let host_frames =
            1u64.checked_shl(u32::from(host_bits).saturating_sub(PAGE_SHIFT)).unwrap_or(u64::MAX);
        let aperture_last = 1u64.checked_shl(aperture_bits).unwrap_or(0).wrapping_sub(1);
        let beyond = MfnRange::new(Mfn(host_frames), Mfn(u64::MAX))
            .unwrap_or_else(|| MfnRange::single(Mfn(u64::MAX)));
        let attributes = if features.contains(UnitFeatures::SNOOP_CONTROL) {
            LeafAttributes::SNOOP
        } else {
            LeafAttributes::empty()
        };
        Ok(Self {
            format: FormatKind::VtdSecondStage,
            levels,
            aperture: BfnRange::new(Bfn(0), Bfn(aperture_last))
                .unwrap_or_else(|| BfnRange::single(Bfn(0))),
            style: TableStyle {
                attributes,
                publish: !features.contains(UnitFeatures::COHERENT),
                largest_leaf_level: largest_leaf_level(features),
            },
            unreachable: [interrupt_range(), beyond],
        })
    }
}

fn levels(features: UnitFeatures, bus_bits: u8) -> Option<u8> {
    let has = |feature, levels| features.contains(feature).then_some(levels);
    let five = has(UnitFeatures::LEVELS_5, 5);
    let four = has(UnitFeatures::LEVELS_4, 4);
    // A level more costs every walk; it is taken where it is needed.
    if bus_bits > 48 { five.or(four) } else { four }
        .or_else(|| has(UnitFeatures::LEVELS_3, 3))
        .or(five)
}

fn largest_leaf_level(features: UnitFeatures) -> u8 {
    match (features.contains(UnitFeatures::LEAF_2M), features.contains(UnitFeatures::LEAF_1G)) {
        (true, true) => 2,
        (true, false) => 1,
        // 1 GiB leaves split into 2 MiB ones, so alone they are of no use.
        (false, _) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::UnitFacts;

    fn unit(features: UnitFeatures, bus: u8, host: u8) -> Unit<'static> {
        let facts =
            UnitFacts { features, bus_address_bits: bus, host_address_bits: host, tags: 16 };
        Unit::new(facts, &[])
    }

    #[test]
    fn tables_are_what_every_unit_can_walk() {
        let both = UnitFeatures::LEVELS_3 | UnitFeatures::LEVELS_4 | UnitFeatures::LEAF_2M;
        let rich = unit(both | UnitFeatures::LEAF_1G | UnitFeatures::COHERENT, 48, 46);
        let poor = unit(UnitFeatures::LEVELS_3 | UnitFeatures::LEAF_2M, 39, 39);
        let alone = Geometry::common(core::slice::from_ref(&rich)).unwrap();
        assert_eq!((alone.levels, alone.style.largest_leaf_level), (4, 2));
        assert_eq!(alone.aperture.last(), Bfn((1 << 36) - 1));
        let together = Geometry::common(&[rich, poor]).unwrap();
        assert_eq!((together.levels, together.style.largest_leaf_level), (3, 1));
        assert_eq!(together.aperture.last(), Bfn((1 << 27) - 1));
        assert_eq!(together.unreachable[1].first(), Mfn(1 << 27));
        assert!(together.style.publish);
    }

    #[test]
    fn units_without_a_common_depth_are_refused() {
        let three = unit(UnitFeatures::LEVELS_3, 39, 39);
        let four = unit(UnitFeatures::LEVELS_4, 48, 39);
        assert_eq!(Geometry::common(&[three, four]).unwrap_err(), SetupError::NoCommonLevels);
        assert_eq!(Geometry::common(&[]).unwrap_err(), SetupError::NoUnit);
    }
}
