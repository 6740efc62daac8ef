//! What is wrong with a machine, in words that name the one thing to look at.

use pviommu_abi::Bfn;

use super::*;

#[test]
fn every_refusal_of_a_machine_names_what_is_wrong_with_it() {
    let device = PciDevice::new(0, 0, 3, 1);
    let range = BfnRange::of_pages(Bfn(0x8000), 2).unwrap();
    let shape = TableShape { format: FormatKind::AmdV1, levels: 5 };
    let words = [
        (SetupError::NoUnit, "the machine has no IOMMU"),
        (
            SetupError::MixedFormats(UnitId(0), UnitId(2)),
            "units 0 and 2 walk tables of different formats; the machine has to say which it uses",
        ),
        (
            SetupError::NoCommonLevels,
            "the units have no table depth in common; the machine has to say which it uses",
        ),
        (SetupError::NoUnitWalks(shape), "no unit walks tables of 5 levels in the format AmdV1"),
        (
            SetupError::FormatNotBuilt(FormatKind::VtdSecondStage),
            "the machine's tables have the format VtdSecondStage, which is not built in",
        ),
        (
            SetupError::UnknownUnit(device, UnitId(7)),
            "device 0000:00:03.1 is behind unit 7, which is not listed",
        ),
        (
            SetupError::DevicesNotSorted(device),
            "device 0000:00:03.1 does not come after the one before it",
        ),
        (
            SetupError::SharedSource(device, SourceId(PciDevice::new(0, 1, 0, 0))),
            "requests of 0000:00:03.1 carry the id 0000:01:00.0, as those of another",
        ),
        (
            SetupError::NoRoomForSources(9),
            "requests of the devices carry 9 ids, more than can be listed",
        ),
        (SetupError::SourcesNotIndexed, "the list of requester ids is not that of the devices"),
        (SetupError::TooManyRanges(device), "device 0000:00:03.1 has more than 32 reserved ranges"),
        (
            SetupError::DirectIsMemory(device, range),
            "direct range 0x8000-0x8001 of 0000:00:03.1 is not its firmware's alone",
        ),
        (
            SetupError::DirectUnreachable(device, range),
            "direct range 0x8000-0x8001 of 0000:00:03.1 cannot be mapped one to one",
        ),
        (
            SetupError::DirectConflict(device, range),
            "direct range 0x8000-0x8001 of 0000:00:03.1 allows nothing, or overlaps another",
        ),
        (
            SetupError::NoQuarantine(device),
            "device 0000:00:03.1 has direct ranges, and no context to keep them in",
        ),
    ];
    for (error, said) in words {
        assert_eq!(error.to_string(), said);
    }
}
