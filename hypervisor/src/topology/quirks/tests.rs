//! The tables say what they are meant to, of those in them and of those beside them.

use std::vec::Vec;

use super::acs::CLAIMS;
use super::alias::{ALIASES, HIDDEN_BRIDGES, TRANSLATION_ROOTS};
use super::{
    Claim, DevfnSet, Place, aliases, claim, hides_pcie, is_pch_root_port, is_spt_root_port,
    is_translation_root, may_use_any_id, phantoms,
};
use crate::abi::PciDevice;
use crate::topology::{Function, Identity, Kind};

const KINDS: [Kind; 5] = [
    Kind::Conventional,
    Kind::Endpoint,
    Kind::RootPort,
    Kind::DownstreamPort,
    Kind::RootComplexEndpoint,
];

/// The southbridge's.
const AMD: Place = Place { multifunction: true, on_root_bus: true, ivrs: true };

fn of(vendor: u16, device: u16, kind: Kind) -> Function {
    Function { kind, ..at(0x0a, vendor, device) }
}

fn at(devfn: u8, vendor: u16, device: u16) -> Function {
    Function {
        identity: Identity { vendor, device, ..Identity::default() },
        ..Function::new(PciDevice { seg: 0, bus: 3, devfn })
    }
}

/// The claim for each of `KINDS`.
fn claims(vendor: u16, device: u16) -> Vec<Option<Claim>> {
    KINDS.map(|kind| claim(&of(vendor, device, kind), Place::default())).to_vec()
}

fn isolates(claim: Option<Claim>) -> bool {
    claim == Some(Claim::Isolates)
}

/// How many device ids of all vendors have a claim, for a function of `kind` in `place`.
fn count(kind: Kind, place: Place, wanted: fn(Claim) -> bool) -> usize {
    let mut vendors: Vec<u16> = CLAIMS.iter().map(|row| row.vendor).collect();
    vendors.dedup();
    vendors
        .iter()
        .flat_map(|vendor| (0..=u16::MAX).map(move |device| of(*vendor, device, kind)))
        .filter(|function| claim(function, place).is_some_and(wanted))
        .count()
}

#[test]
fn tables_are_sorted_by_vendor() {
    assert!(CLAIMS.is_sorted_by_key(|row| row.vendor));
    assert!(ALIASES.is_sorted_by_key(|(vendor, ..)| *vendor));
    assert!(HIDDEN_BRIDGES.is_sorted_by_key(|(vendor, _)| *vendor));
}

#[test]
fn as_many_devices_have_a_claim_as_their_makers_listed() {
    let on = |claim| claim == Claim::Isolates;
    // Whatever they are: 19 cards, and 48 of Intel; 50 ports; and 24 cards of Wangxun.
    assert_eq!(count(Kind::Endpoint, Place::default(), on), 19 + 48 + 50 + 24);
    // AMD's with their IVRS.
    assert_eq!(count(Kind::Endpoint, AMD, on), 141 + 8);
    // Endpoints of the root complex: of Intel all.
    assert_eq!(count(Kind::RootComplexEndpoint, Place::default(), on), 141 - 48 + 0x1_0000);
    // Root ports: of Cavium 0x802 (of which 3 are cards too), of Annapurna 1, of Zhaoxin 64.
    assert_eq!(count(Kind::RootPort, Place::default(), on), 141 + 0x802 - 3 + 1 + 64);
    assert_eq!(count(Kind::RootPort, Place::default(), |claim| claim == Claim::ChipsetPort), 119);
}

#[test]
fn a_vendor_that_lists_the_good_says_of_the_rest_that_nothing_is_on() {
    let nothing = Some(Claim::Nothing);
    assert_eq!(claims(0x1d17, 0x0720), [None, None, nothing, nothing, None]);
    let port = |device| claim(&of(0x1d17, device, Kind::DownstreamPort), Place::default());
    assert_eq!(port(0x0720), nothing);
    assert!(isolates(port(0x0721)));
    // A port by kind, but first of all a card by number.
    assert!(isolates(port(0x3038)));
    assert_eq!(claims(0x8088, 0x1000), [nothing; 5]);
    assert!(claims(0x8088, 0x1001).into_iter().all(isolates));
}

#[test]
fn endpoints_of_the_root_complex_of_intel_are_kept_apart_by_its_iommu() {
    for (kind, said) in KINDS.into_iter().zip(claims(0x8086, 0x1234)) {
        assert_eq!(isolates(said), kind == Kind::RootComplexEndpoint, "{kind:?}");
    }
    assert!(claims(0x1d94, 0x1234).into_iter().all(|said| said.is_none()));
}

#[test]
fn a_claim_about_root_ports_says_nothing_of_others() {
    let none = |kind| claim(&of(0x177d, 0xa123, kind), Place::default()).is_none();
    assert!(!none(Kind::RootPort));
    assert!(none(Kind::DownstreamPort) && none(Kind::Unknown) && none(Kind::Endpoint));
    assert!(claims(0x177d, 0xa059).into_iter().all(isolates));
}

#[test]
fn a_southbridge_of_amd_is_isolated_beside_its_iommu_only() {
    let southbridge = of(0x1002, 0x4385, Kind::Conventional);
    assert!(isolates(claim(&southbridge, AMD)));
    for place in [
        Place { multifunction: false, ..AMD },
        Place { on_root_bus: false, ..AMD },
        Place { ivrs: false, ..AMD },
    ] {
        assert_eq!(claim(&southbridge, place), None, "{place:?}");
    }
}

#[test]
fn chipset_ports_of_intel_are_root_ports_of_the_list() {
    let [pch, spt] = [is_pch_root_port, is_spt_root_port];
    let port = |device| of(0x8086, device, Kind::RootPort);
    assert!(pch(&port(0x1d1e)) && !pch(&port(0x1d1f)) && !pch(&port(0xa110)));
    assert!(pch(&port(0x1d10)) && !pch(&port(0x1d11)) && pch(&port(0x1d12)));
    assert!(spt(&port(0xa110)) && spt(&port(0x9d1b)) && !spt(&port(0x1d1e)));
    assert!(!pch(&of(0x8086, 0x1d1e, Kind::Endpoint)) && !spt(&of(0x8087, 0xa110, Kind::RootPort)));
    assert_eq!(claim(&port(0x1d1e), Place::default()), Some(Claim::ChipsetPort));
    assert_eq!(claim(&port(0xa110), Place::default()), None);
    let all = (0..=u16::MAX).filter(|device| spt(&port(*device))).count();
    assert_eq!(all, 12 + 16 + 4 + 16 + 8);
}

fn set(of: impl IntoIterator<Item = u8>) -> DevfnSet {
    of.into_iter().collect()
}

#[test]
fn a_number_that_is_put_into_a_set_again_stays_there() {
    assert!(set([0x41, 0x42, 0x41]).iter().eq([0x41, 0x42]));
}

#[test]
fn aliases_are_what_the_makers_listed_without_the_own_number() {
    assert_eq!(aliases(&at(0x0b, 0x1180, 0xe832)), set([0x08]));
    assert_eq!(aliases(&at(0x08, 0x1180, 0xe832)), set([]));
    assert_eq!(aliases(&at(0x08, 0x1b4b, 0x9183)), set([0x09]));
    assert_eq!(aliases(&at(0x00, 0x8086, 0x2260)), set([0x80, 0x88, 0x93]));
    let vca = aliases(&at(0x09, 0x8086, 0x2958));
    assert_eq!(vca.iter().count(), 32 * 5 - 1);
    assert!(vca.contains(0xfc) && !vca.contains(0xfd) && !vca.contains(0x09));
    let bridge = aliases(&at(0xff, 0x10b5, 0x87b1));
    assert_eq!(bridge.iter().count(), 255);
    assert!(aliases(&at(0x08, 0x8086, 0x2957)).is_empty());
}

#[test]
fn an_alias_of_a_subsystem_is_not_that_of_another() {
    let with = |subsystem_vendor, subsystem_device| {
        let mut card = at(0x70, 0x9005, 0x0285);
        card.identity.subsystem_vendor = subsystem_vendor;
        card.identity.subsystem_device = subsystem_device;
        aliases(&card)
    };
    assert_eq!(with(0x9005, 0x02bb), set([0x08]));
    assert_eq!(with(0x9005, 0x02bc), set([0x08]));
    assert!(with(0x9005, 0x02bd).is_empty() && with(0, 0).is_empty());
}

#[test]
fn phantom_functions_are_as_far_apart_as_real_ones_can_be_many() {
    let of = |devfn, phantom_bits| phantoms(&Function { phantom_bits, ..at(devfn, 1, 1) });
    assert!(of(0x0b, 0).is_empty());
    assert_eq!(of(0x08, 1), set([0x0c]));
    assert_eq!(of(0x0b, 1), set([0x0f]));
    assert_eq!(of(0xf9, 2), set([0xfb, 0xfd, 0xff]));
    assert_eq!(of(0x08, 3), set(0x09..=0x0f));
    // A number that leaves no room counts with all like it.
    assert_eq!(of(0x0d, 1), set([0x09]));
    assert_eq!(of(0x08, 255), set(0x09..=0x0f));
}

#[test]
fn odd_bridges_are_known_by_number() {
    let is = |vendor, device| Identity { vendor, device, ..Identity::default() };
    let listed = |table: fn(&Identity) -> bool, vendor| {
        (0..=u16::MAX).filter(move |device| table(&is(vendor, *device))).count()
    };
    assert_eq!([0x10e3, 0x1283, 0x1b21, 0x8086].map(|v| listed(hides_pcie, v)), [1, 2, 1, 1]);
    assert!(TRANSLATION_ROOTS.iter().all(|(vendor, _)| *vendor == 0x14e4));
    assert_eq!(listed(is_translation_root, 0x14e4), 2);
    assert_eq!(listed(may_use_any_id, 0x11f8), 100);
    assert_eq!(listed(may_use_any_id, 0x10b5), 0);
}
