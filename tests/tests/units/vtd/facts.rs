//! What a unit says, and what is held against it.

use pviommu_hypervisor::{
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
    unit::vtd::{Capabilities, Quirks},
};
use pviommu_testbed::hardware::vtd::Config;

use super::kit::Rig;

fn facts(config: Config, quirks: Quirks) -> UnitFacts {
    Capabilities::read(&Rig::new(config).unit).unwrap().facts(quirks, 46)
}

fn features(config: Config, quirks: Quirks) -> UnitFeatures {
    facts(config, quirks).features
}

/// The words as QEMU 7.2 has them.
#[test]
fn facts_of_an_emulated_unit() {
    let superpages = UnitFeatures::LEAF_2M | UnitFeatures::LEAF_1G;
    let wide = superpages | UnitFeatures::LEVELS_3 | UnitFeatures::LEVELS_4;
    let expected = UnitFacts {
        format: FormatKind::VtdSecondStage,
        features: wide,
        bus_address_bits: 48,
        host_address_bits: 46,
        tags: 65536,
    };
    assert_eq!(facts(Config::QEMU, Quirks::empty()), expected);
    let narrow = facts(Config::QEMU_39, Quirks::empty());
    assert_eq!(narrow.features, superpages | UnitFeatures::LEVELS_3);
    assert_eq!(narrow.bus_address_bits, 39);
    let caching = features(Config::QEMU.with_cap(1 << 7), Quirks::empty());
    assert_eq!(caching, wide | UnitFeatures::CACHES_NOT_PRESENT);
    let snoops = Config { ecap: 0xfc2, ..Config::QEMU };
    assert_eq!(features(snoops, Quirks::empty()), wide | UnitFeatures::SNOOP_CONTROL);
}

#[test]
fn every_field_is_where_it_is() {
    let config = |cap, ecap| Config { ver: 0x10, cap, ecap };
    let cases = [
        (config(1 << 4, 0), UnitFeatures::WRITE_BUFFER),
        (config(1 << 7, 0), UnitFeatures::CACHES_NOT_PRESENT),
        (config(1 << 9, 0), UnitFeatures::LEVELS_3),
        (config(1 << 10, 0), UnitFeatures::LEVELS_4),
        (config(1 << 11, 0), UnitFeatures::LEVELS_5),
        (config(1 << 34, 0), UnitFeatures::LEAF_2M),
        (config(1 << 35, 0), UnitFeatures::LEAF_1G),
        (config(0, 1), UnitFeatures::COHERENT),
        (config(0, 1 << 7), UnitFeatures::SNOOP_CONTROL),
    ];
    for (words, feature) in cases {
        assert_eq!(features(words, Quirks::empty()), feature);
    }
    let tags = |nd| facts(config(nd, 0), Quirks::empty()).tags;
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(tags), [16, 64, 256, 1024, 4096, 16384, 65536]);
    let remaps = |ecap| {
        let read = Capabilities::read(&Rig::new(config(0, ecap)).unit).unwrap();
        (read.remaps_interrupts(), read.remaps_to_x2apic())
    };
    assert_eq!([0, 8, 24].map(remaps), [(false, false), (true, false), (true, true)]);
}

#[test]
fn quirks_hide_or_claim_what_they_say_and_nothing_else() {
    let all = features(Config::SERVER, Quirks::empty());
    let with = |quirks| features(Config::SERVER, quirks);
    let superpages = UnitFeatures::LEAF_2M | UnitFeatures::LEAF_1G;
    assert_eq!(with(Quirks::HIDE_SUPERPAGES), all - superpages);
    assert_eq!(with(Quirks::HIDE_SNOOP_CONTROL), all - UnitFeatures::SNOOP_CONTROL);
    assert_eq!(with(Quirks::CLAIM_NOT_COHERENT), all - UnitFeatures::COHERENT);
    assert_eq!(with(Quirks::CLAIM_WRITE_BUFFER), all | UnitFeatures::WRITE_BUFFER);
    let caching = with(Quirks::CLAIM_CACHES_NOT_PRESENT);
    assert_eq!(caching, all | UnitFeatures::CACHES_NOT_PRESENT);
    assert_eq!(with(Quirks::NO_PAGE_SELECTIVE), all);
}
