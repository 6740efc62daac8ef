//! What the tables of a machine look like: what all of its units can walk.

use pviommu_abi::Bfn;

use super::{
    SetupError, Unit,
    holes::{as_frames, holes_of},
};
use crate::{
    addr::{BfnRange, Mfn, MfnRange, PAGE_SHIFT},
    format::LeafAttributes,
    platform::{TableShape, UnitFacts, UnitFeatures, UnitId},
    reserved::Reserved,
    table::TableStyle,
};

/// A unit with one of these goes on without an entry that turned present until it is told of it.
pub(crate) const SYNCS_MAPS: UnitFeatures =
    UnitFeatures::CACHES_NOT_PRESENT.union(UnitFeatures::WRITE_BUFFER);

/// Shape, leaf sizes and address widths that every unit has which walks the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) shape: TableShape,
    pub(crate) aperture: BfnRange,
    pub(crate) style: TableStyle,
    /// Some unit, of all there are, is to be told of entries that turned present.
    pub(crate) syncs_maps: bool,
    /// Frames no unit puts out.
    beyond: MfnRange,
}

impl Geometry {
    /// What those of `units` have in common that walk tables of the shape `wanted`, or all of them.
    pub(crate) fn common(
        units: &[Unit<'_>],
        wanted: Option<TableShape>,
    ) -> Result<Self, SetupError> {
        let shape = match wanted {
            Some(shape) => shape,
            None => common_shape(units)?,
        };
        let facts = || units.iter().map(Unit::facts).filter(|unit| unit.walks(shape));
        if facts().next().is_none() {
            return Err(SetupError::NoUnitWalks(shape));
        }
        let features = common_features(facts());
        let syncs_maps = units.iter().any(|unit| unit.facts().features.intersects(SYNCS_MAPS));
        let bus_bits = facts().map(|unit| unit.bus_address_bits).min().unwrap_or(0);
        let host_bits = facts().map(|unit| unit.host_address_bits).min().unwrap_or(0);
        let walked_bits = u32::from(shape.levels).saturating_mul(9).saturating_add(PAGE_SHIFT);
        let aperture_bits = u32::from(bus_bits).min(walked_bits).saturating_sub(PAGE_SHIFT);
        let host_frames =
            1u64.checked_shl(u32::from(host_bits).saturating_sub(PAGE_SHIFT)).unwrap_or(u64::MAX);
        let aperture_last = 1u64.checked_shl(aperture_bits).unwrap_or(0).wrapping_sub(1);
        let attributes = if features.contains(UnitFeatures::SNOOP_CONTROL) {
            LeafAttributes::SNOOP
        } else {
            LeafAttributes::empty()
        };
        Ok(Self {
            shape,
            aperture: BfnRange::new(Bfn(0), Bfn(aperture_last))
                .unwrap_or_else(|| BfnRange::single(Bfn(0))),
            style: TableStyle {
                attributes,
                publish: !features.contains(UnitFeatures::COHERENT),
                largest_leaf_level: largest_leaf_level(features),
            },
            syncs_maps,
            beyond: MfnRange::new(Mfn(host_frames), Mfn(u64::MAX))
                .unwrap_or_else(|| MfnRange::single(Mfn(u64::MAX))),
        })
    }

    /// Bus frames that are not memory.
    pub(crate) fn holes(&self) -> &'static [Reserved] {
        holes_of(self.shape.format)
    }

    /// Has `look` look at the frames that no unit can or may put out.
    #[inline]
    pub(crate) fn each_unreachable(&self, mut look: impl FnMut(MfnRange)) {
        for hole in self.holes() {
            look(as_frames(hole));
        }
        look(self.beyond);
    }

    /// The same, one after the other.
    pub(crate) fn unreachable(&self) -> impl Iterator<Item = MfnRange> + use<> {
        self.holes().iter().map(as_frames).chain([self.beyond])
    }
}

fn common_features<'u>(units: impl Iterator<Item = &'u UnitFacts>) -> UnitFeatures {
    units.fold(UnitFeatures::all(), |all, unit| all & unit.features)
}

/// The shape that all units can walk.
fn common_shape(units: &[Unit<'_>]) -> Result<TableShape, SetupError> {
    let format = units.first().ok_or(SetupError::NoUnit)?.facts().format;
    for (id, unit) in (0..=u16::MAX).zip(units) {
        if unit.facts().format != format {
            return Err(SetupError::MixedFormats(UnitId(0), UnitId(id)));
        }
    }
    let features = common_features(units.iter().map(Unit::facts));
    let bus_bits = units.iter().map(|unit| unit.facts().bus_address_bits).min().unwrap_or(0);
    let levels = levels(features, bus_bits).ok_or(SetupError::NoCommonLevels)?;
    Ok(TableShape { format, levels })
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
    use crate::format::FormatKind;

    const VTD: FormatKind = FormatKind::VtdSecondStage;
    const AMD: FormatKind = FormatKind::AmdV1;

    fn unit(format: FormatKind, features: UnitFeatures, bus: u8, host: u8) -> Unit<'static> {
        let (bus_address_bits, host_address_bits) = (bus, host);
        Unit::new(
            UnitFacts { format, features, bus_address_bits, host_address_bits, tags: 16 },
            &[],
        )
    }

    #[test]
    fn tables_are_what_every_unit_can_walk() {
        let both = UnitFeatures::LEVELS_3 | UnitFeatures::LEVELS_4 | UnitFeatures::LEAF_2M;
        let rich = unit(VTD, both | UnitFeatures::LEAF_1G | UnitFeatures::COHERENT, 48, 46);
        let poor = unit(VTD, UnitFeatures::LEVELS_3 | UnitFeatures::LEAF_2M, 39, 39);
        let alone = Geometry::common(core::slice::from_ref(&rich), None).unwrap();
        assert_eq!((alone.shape.levels, alone.style.largest_leaf_level), (4, 2));
        assert_eq!(alone.aperture.last(), Bfn((1 << 36) - 1));
        let together = Geometry::common(&[rich, poor], None).unwrap();
        assert_eq!((together.shape.levels, together.style.largest_leaf_level), (3, 1));
        assert_eq!(together.aperture.last(), Bfn((1 << 27) - 1));
        assert_eq!(together.unreachable().last().unwrap().first(), Mfn(1 << 27));
        assert!(together.style.publish);
    }

    /// Of all there are, also one that does not walk these tables: `query_limits` tells a guest so.
    #[test]
    fn maps_are_told_to_units_if_one_of_all_goes_on_without_them() {
        let syncs = |features| {
            let units = [
                unit(VTD, UnitFeatures::LEVELS_4, 48, 46),
                unit(AMD, UnitFeatures::LEVELS_4 | features, 48, 48),
            ];
            let shape = TableShape { format: VTD, levels: 4 };
            Geometry::common(&units, Some(shape)).unwrap().syncs_maps
        };
        assert!(!syncs(UnitFeatures::COHERENT));
        assert!(syncs(UnitFeatures::CACHES_NOT_PRESENT) && syncs(UnitFeatures::WRITE_BUFFER));
    }

    #[test]
    fn the_fifth_level_is_taken_where_addresses_need_it() {
        let features = UnitFeatures::LEVELS_4 | UnitFeatures::LEVELS_5;
        let levels = |bus| {
            let unit = unit(VTD, features, bus, 52);
            Geometry::common(&[unit], None).map(|it| (it.shape.levels, it.aperture.last()))
        };
        assert_eq!(levels(48), Ok((4, Bfn((1 << 36) - 1))));
        assert_eq!(levels(57), Ok((5, Bfn((1 << 45) - 1))));
    }

    #[test]
    fn units_without_a_common_shape_are_refused_unless_one_is_chosen() {
        let units = || {
            [
                unit(VTD, UnitFeatures::LEVELS_3, 39, 39),
                unit(VTD, UnitFeatures::LEVELS_4 | UnitFeatures::COHERENT, 48, 46),
                unit(AMD, UnitFeatures::LEVELS_4, 48, 48),
            ]
        };
        let [three, four, amd] = units();
        let depths = Geometry::common(&[three, four], None);
        assert_eq!(depths.unwrap_err(), SetupError::NoCommonLevels);
        let [three, ..] = units();
        let formats = Geometry::common(&[three, amd], None);
        assert_eq!(formats.unwrap_err(), SetupError::MixedFormats(UnitId(0), UnitId(1)));

        let shape = |format, levels| TableShape { format, levels };
        let chosen = Geometry::common(&units(), Some(shape(VTD, 4))).unwrap();
        // What the others lack does not count.
        assert!(!chosen.style.publish);
        assert_eq!(chosen.unreachable().last().unwrap().first(), Mfn(1 << 34));
        let nobody = Geometry::common(&units(), Some(shape(VTD, 5)));
        assert_eq!(nobody.unwrap_err(), SetupError::NoUnitWalks(shape(VTD, 5)));
        assert_eq!(Geometry::common(&[], None).unwrap_err(), SetupError::NoUnit);
    }

    /// INV-23: and not with VT-d, where memory may be there.
    #[test]
    fn nothing_reaches_the_hypertransport_range_of_a_machine_with_amds_units() {
        let hole = |format| {
            let unit = unit(format, UnitFeatures::LEVELS_4, 48, 48);
            let geometry = Geometry::common(&[unit], None).unwrap();
            let last = geometry.holes().last().unwrap().range;
            assert!(geometry.unreachable().any(|range| range.first().0 == last.first().0));
            (last.first().0 << 12, (last.last().0 << 12) | 0xfff)
        };
        assert_eq!(hole(AMD), (0xfd_0000_0000, 0xff_ffff_ffff));
        assert_eq!(hole(VTD), (0xfee0_0000, 0xfeef_ffff));
    }
}
