//! What the driver does not do, and that it changes nothing then.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{AttachError, SourceId, TableRoot, Tag, UnitError},
    unit::{
        Driver,
        amdvi::{BringUpError, Quirks, Settings},
    },
};

use super::kit::{TAG, root, settings, source, unit, with};

#[test]
fn what_no_entry_can_say_is_refused() {
    let unit = unit();
    let quirks = Quirks::TAGS_256 | Quirks::NO_LEVELS_5;
    let driver = with(&unit, &Settings { quirks, ..settings() });
    let levels = |levels| TableRoot { frame: Mfn(0x10), levels };
    let elsewhere = SourceId(PciDevice { seg: 1, bus: 0, devfn: 3 });
    let cases = [
        (source(0x200), root(0x10), TAG, "beyond the device table"),
        (elsewhere, root(0x10), TAG, "of another segment"),
        (source(3), levels(5), TAG, "deeper than it walks"),
        (source(3), levels(0), TAG, "no table"),
        (source(3), levels(7), TAG, "reserved"),
        (source(3), root(1 << 36), TAG, "beyond the address width of the machine"),
        (source(3), root(0x10), Tag(0), "what blocked devices have"),
        (source(3), root(0x10), Tag(256), "more than it tells apart"),
    ];
    for (source, root, tag, why) in cases {
        assert_eq!(driver.attach(source, root, tag), Err(AttachError::Refused), "{why}");
    }
    assert_eq!(unit.stored(3), Some([3, 0, 0, 0]));
    assert_eq!(unit.take_done(), []);
    driver.attach(source(3), root((1 << 36) - 1), Tag(255)).unwrap();
    driver.attach(source(0x1ff), levels(3), TAG).unwrap();
}

/// The unit refuses requests that no entry stands for.
#[test]
fn who_is_beyond_the_device_table_is_blocked_already() {
    let unit = unit();
    let driver = with(&unit, &settings());
    assert_eq!(driver.block(source(0x200)), Ok(()));
    let elsewhere = SourceId(PciDevice { seg: 1, bus: 0, devfn: 3 });
    assert_eq!(driver.block(elsewhere), Err(UnitError), "that is another unit's");
}

#[test]
fn a_unit_that_is_not_brought_up_is_told_with_what_would_have_to_be_different() {
    let words = [
        (BringUpError::Absent, "there are no registers"),
        (BringUpError::Unsupported, "the unit has no tables as they are wanted"),
        (BringUpError::Memory, "the unit was lent memory of a size that it may not have"),
        (BringUpError::OutOfReach, "the unit was lent memory that it cannot reach"),
        (BringUpError::Ring(256), "the command buffer needs 256 entries"),
        (BringUpError::NoAnswer, "the unit does not answer"),
    ];
    for (error, said) in words {
        assert_eq!(error.to_string(), said);
    }
}
