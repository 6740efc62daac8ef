//! Pictures and reasons of groups.

use std::collections::BTreeMap;

use pviommu_hypervisor::topology::Mode;
use pviommu_testbed::groups::{Grouped, Text, dot, svg};
use pviommu_testbed::pci::{Buses, Capture, Captured, Kind};

use crate::data::load;

fn machines(file: &str, why: bool) -> Vec<Grouped> {
    let group = |capture: Capture| Grouped::new(capture, Mode::Safe, why).unwrap();
    load(file).into_iter().map(group).collect()
}

#[test]
fn pictures_show_each_function_once() {
    for file in ["real.json", "qemu.json.gz", "real-partial.json.gz"] {
        for machine in machines(file, false) {
            let one = std::slice::from_ref(&machine);
            let (drawn, graph) = (svg(one), dot(one));
            assert_eq!(drawn.matches('<').count(), drawn.matches('>').count());
            for function in &machine.capture.functions {
                let name = function.name;
                let place = format!("{}: {name}", machine.capture.name);
                assert_eq!(drawn.matches(&format!(">{name}</text>")).count(), 1, "{place}");
                assert_eq!(graph.matches(&format!("[label=\"{name}\\n")).count(), 1, "{place}");
            }
        }
    }
}

#[test]
fn functions_of_one_group_have_one_colour_and_neighbours_another() {
    for machine in machines("real.json", false) {
        let graph = dot(std::slice::from_ref(&machine));
        let mut colours: BTreeMap<&str, &str> = BTreeMap::new();
        for line in graph.lines().filter(|line| line.contains("group ")) {
            let group = line.split_once("\\ngroup ").unwrap().1.split_once('"').unwrap().0;
            let colour = line.split_once("fillcolor=\"").unwrap().1.split_once('"').unwrap().0;
            assert_eq!(*colours.entry(group).or_insert(colour), colour, "{line}");
        }
        let of_several: Vec<_> = colours.values().filter(|colour| **colour != "#ffffff").collect();
        let several = machine.groups.iter().filter(|group| group.members.len() > 1).count();
        assert_eq!(of_several.len(), several, "{}", machine.capture.name);
    }
}

#[test]
fn a_virtual_function_that_calls_itself_a_bridge_does_not_lead_in_circles() {
    let function = |name: &str| Captured {
        kind: Some(Kind::Endpoint),
        ..Captured::new(name.parse().unwrap())
    };
    let buses = Some(Buses { primary: 0, secondary: 5, subordinate: 5 });
    let card = function("05:00.0");
    let part = Captured {
        virtual_function: true,
        physical: Some(card.name),
        buses,
        ..function("01:00.0")
    };
    let capture = Capture { functions: vec![card, part], ..Capture::new("odd".to_owned(), 0) };
    let machine =
        Grouped { capture, mode: Mode::Safe, groups: Vec::new(), without_unit: Vec::new() };
    assert_eq!(svg(&[machine]).matches("mono bold").count(), 2);
}

#[test]
fn names_cannot_break_out_of_a_picture() {
    let mut machine = machines("real.json", false).remove(0);
    machine.capture.name = "<b>\"\\ & \n</svg>".to_owned();
    let one = std::slice::from_ref(&machine);
    assert!(svg(one).contains("&lt;b&gt;&quot;\\ &amp; "), "{}", svg(one));
    assert_eq!(svg(one).matches("</svg>").count(), 1);
    assert!(dot(one).contains(r#"label="<b>\"\\ & \n</svg> (safe)""#), "{}", dot(one));
}

#[test]
fn reasons_and_remedies_are_given_where_several_are_together() {
    for machine in machines("real.json", true) {
        for group in &machine.groups {
            let several = group.members.len() + group.beside.len() - 1;
            assert_eq!(group.why.len(), several, "{}: {group:?}", machine.capture.name);
            assert_eq!(!group.remedies.is_empty(), several > 0, "{group:?}");
            let texts = group.why.iter().chain(group.remedies.iter().flat_map(|it| &it.steps));
            for text in texts {
                assert!(!text.contains("0000:0"), "functions without a segment: {text}");
            }
        }
        let text = Text { machine: &machine, differences: None }.to_string();
        assert_eq!(
            text.lines().filter(|line| line.starts_with("group ")).count(),
            machine.groups.len()
        );
    }
}
