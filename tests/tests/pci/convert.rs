//! What the service makes of captures: whom it groups, and what it does about what is not known.

use std::collections::BTreeSet;

use pviommu_hypervisor::topology::Mode;
use pviommu_testbed::groups::{Grouped, differences};
use pviommu_testbed::pci::{Buses, Capture, Captured, Kind, Name};

use crate::data::{FILES, load};

fn group(capture: &Capture, mode: Mode) -> Grouped {
    Grouped::new(capture.clone(), mode, false)
        .unwrap_or_else(|error| panic!("{}: {error}", capture.name))
}

/// A machine of `functions`, without groups of Linux's.
fn machine(functions: Vec<Captured>) -> Capture {
    Capture { functions, ..Capture::new("made up".to_owned(), 0) }
}

fn known(name: &str, kind: Kind) -> Captured {
    let name = name.parse().unwrap();
    Captured { kind: Some(kind), acs_is_known: true, vendor: 0x1234, ..Captured::new(name) }
}

#[test]
fn groups_are_a_partition_of_what_is_behind_a_unit() {
    let mut functions = 0;
    for (file, _) in FILES {
        for capture in load(file) {
            for mode in [Mode::Safe, Mode::AsLinux] {
                let grouped = group(&capture, mode);
                let members = || grouped.groups.iter().flat_map(|group| &group.members);
                let all: BTreeSet<Name> = members().chain(&grouped.without_unit).copied().collect();
                assert_eq!(all.len(), capture.functions.len(), "{}", capture.name);
                assert_eq!(members().count() + grouped.without_unit.len(), all.len());
                functions += all.len();
            }
        }
    }
    assert_eq!(functions, 71_676);
}

#[test]
fn functions_without_a_group_and_iommus_are_behind_no_unit() {
    let captures = load("real.json");
    let mini = captures.iter().find(|capture| capture.name == "asus-pn51").unwrap();
    let grouped = group(mini, Mode::Safe);
    assert_eq!(grouped.without_unit, ["00:00.0".parse().unwrap(), "00:00.2".parse().unwrap()]);
    let iommu = Captured { class: 0x08_0600, ..known("00:00.2", Kind::Conventional) };
    let other = known("00:01.0", Kind::RootComplexEndpoint);
    let grouped = group(&machine(vec![other.clone(), iommu.clone()]), Mode::Safe);
    assert_eq!(grouped.without_unit, [iommu.name]);
    assert_eq!(grouped.groups.len(), 1);
}

#[test]
fn what_is_below_a_vmd_sends_in_one_name() {
    let below = |segment: u32| {
        let functions = vec![
            known("e0:06.0", Kind::RootComplexEndpoint),
            known("e0:07.0", Kind::RootComplexEndpoint),
        ];
        Capture { segment, ..machine(functions) }
    };
    assert_eq!(group(&below(0xffff), Mode::Safe).groups.len(), 2);
    assert_eq!(group(&below(0x1_0000), Mode::Safe).groups.len(), 1);
}

#[test]
fn a_virtual_function_that_does_not_say_whose_it_is_gets_the_one_before_it() {
    let port = Captured {
        header: 1,
        buses: Some(Buses { primary: 0, secondary: 1, subordinate: 2 }),
        acs: Some((0x1d, 0x1d)),
        ..known("00:01.0", Kind::RootPort)
    };
    let card = known("01:00.0", Kind::Endpoint);
    // Where nothing says that it is one, its bus does.
    for virtual_function in [true, false] {
        let part = Captured { virtual_function, ..known("02:10.0", Kind::Endpoint) };
        let capture = machine(vec![part.clone(), port.clone(), card.clone()]);
        let grouped = group(&capture, Mode::Safe);
        let of_card = grouped.groups.iter().find(|it| it.members.contains(&card.name)).unwrap();
        assert_eq!(of_card.members, [card.name, part.name]);
    }
}

/// `capture` as a source shows it that leaves out what `forget` takes away.
fn forgotten(capture: &Capture, forget: fn(&mut Captured)) -> Capture {
    let mut capture = capture.clone();
    capture.functions.iter_mut().for_each(forget);
    capture
}

/// Without root: no more than the header, which still says that there are no capabilities at all.
fn header_only(function: &mut Captured) {
    if function.kind == Some(Kind::Conventional) && function.name.devfn.is_multiple_of(3) {
        return;
    }
    function.kind = None;
    extended_unseen(function);
    function.phantom = 0;
}

/// 256 bytes: no extended capabilities.
fn extended_unseen(function: &mut Captured) {
    if function.kind == Some(Kind::Conventional) {
        return;
    }
    (function.acs, function.acs_is_known, function.ari) = (None, false, false);
    function.config.clear();
}

/// Words: no bit 7.
fn bit_unseen(function: &mut Captured) {
    function.multifunction = None;
}

#[test]
fn knowing_less_never_makes_groups_smaller() {
    type Forget = fn(&mut Captured);
    let ways: [(&str, Forget); 3] = [
        ("header only", header_only),
        ("extended unseen", extended_unseen),
        ("bit unseen", bit_unseen),
    ];
    let mut wider = [0; 3];
    for file in ["handmade.json", "real.json", "qemu.json.gz", "random.json.gz"] {
        for capture in load(file) {
            let whole = group(&capture, Mode::Safe);
            for (place, (way, forget)) in ways.into_iter().enumerate() {
                let less = group(&forgotten(&capture, forget), Mode::Safe).numbers();
                for together in &whole.groups {
                    let numbers: BTreeSet<usize> =
                        together.members.iter().map(|member| less[member]).collect();
                    assert_eq!(numbers.len(), 1, "{way}: {}: {together:?}", capture.name);
                }
                let count = less.values().collect::<BTreeSet<_>>().len();
                wider[place] += whole.groups.len() - count;
            }
        }
    }
    assert!(wider[0] > wider[1] && wider[1] > 500, "{wider:?}");
    assert_eq!(wider[2], 0, "a safe group does not depend on it");
}

#[test]
fn differences_are_of_groups_that_overlap() {
    let captures = load("handmade.json");
    let find = |name: &str| captures.iter().find(|capture| capture.name == name).unwrap();
    let linux = group(find("switch-acs-none"), Mode::AsLinux);
    assert!(differences(&linux).is_empty());
    let safe = differences(&group(find("switch-acs-none"), Mode::Safe));
    assert_eq!(safe.len(), 1);
    assert!(safe[0].here.len() == 1 && safe[0].linux.len() > 1, "{safe:?}");
    // Functions without a group of Linux's are compared with nothing.
    let mut fewer = find("switch-acs-none").clone();
    fewer.linux_groups.truncate(1);
    assert!(differences(&group(&fewer, Mode::Safe)).is_empty());
}
