use super::{at, bridge, build, endpoint, groups, isolating, nodes, switch};
use crate::topology::{Acs, AcsBits, Change, Contradiction, Function, Kind, Topology};

const ALL_BELOW_THE_SWITCH: &str = "01:00.0 02:00.0 02:01.0 03:00.0 04:00.0";

fn everything(topology: &Topology<'_>) -> (Vec<Function>, Vec<String>) {
    (topology.functions().copied().collect(), groups(topology))
}

fn names<'t>(functions: impl Iterator<Item = &'t Function>) -> Vec<String> {
    functions.map(|function| function.address.to_string()[5..].to_owned()).collect()
}

#[test]
fn peer_to_peer_below_a_switch_makes_one_group_of_it_and_redirection_parts_it_again() {
    let mut room = nodes(&switch(), 0);
    let mut topology = build(&mut room, 6);
    let before = everything(&topology);
    let straight = Change::PeerToPeer { below: at("01:00.0"), allowed: true };
    let plan = topology.plan(straight).unwrap();
    assert_eq!(groups(plan.topology()), [ALL_BELOW_THE_SWITCH]);
    assert_eq!(names(plan.altered()), ["02:00.0", "02:01.0"]);
    assert_eq!(names(plan.regrouped()).join(" "), ALL_BELOW_THE_SWITCH);
    let owned = |name| plan.in_the_way(move |function| function == at(name));
    assert_eq!(owned("04:00.0"), Some(at("04:00.0")));
    assert_eq!(owned("00:01.0"), None);
    plan.keep();
    assert_eq!(groups(&topology), [ALL_BELOW_THE_SWITCH]);
    let control = topology.function(at("02:00.0")).unwrap().acs.missing();
    assert_eq!(control, AcsBits::REQUEST_REDIRECT | AcsBits::COMPLETION_REDIRECT);

    let redirected = Change::PeerToPeer { below: at("00:01.0"), allowed: false };
    topology.plan(redirected).unwrap().keep();
    assert_eq!(everything(&topology), before);
}

#[test]
fn peer_to_peer_below_one_port_leaves_the_next_one_as_it_is() {
    let port = |name, bus| isolating(bridge(name, Kind::RootPort, bus, bus));
    let mut room = nodes(&[port("00:01.0", 1), port("00:02.0", 2)], 0);
    let mut topology = build(&mut room, 2);
    let straight = Change::PeerToPeer { below: at("00:01.0"), allowed: true };
    assert_eq!(names(topology.plan(straight).unwrap().altered()), ["00:01.0"]);
}

/// A root port that can switch isolation and egress control, and has this on.
fn port_with(control: AcsBits) -> Function {
    let capability = AcsBits::ISOLATION | AcsBits::EGRESS_CONTROL | AcsBits::ENHANCED;
    let acs = Acs::Present { capability, control, at: 0x100 };
    Function { acs, ..bridge("00:01.0", Kind::RootPort, 1, 1) }
}

#[test]
fn what_is_switched_off_is_all_that_the_function_can_switch_and_is_not_to_be_on() {
    let mut room = nodes(&[port_with(AcsBits::ISOLATION)], 0);
    let mut topology = build(&mut room, 1);
    let (function, on) = (at("00:01.0"), AcsBits::SOURCE_VALIDATION);
    let plan = topology.plan(Change::Access { function, control: on }).unwrap();
    let written = plan.writes().map(|(_, change)| change.unwrap());
    let off = (AcsBits::ISOLATION | AcsBits::EGRESS_CONTROL) - on;
    let bits = |bits: AcsBits| u32::from(bits.bits());
    assert!(written.map(|it| (it.clear, it.set)).eq([(bits(off), bits(on))]));
}

#[test]
fn egress_control_that_is_switched_on_weakens_and_off_does_not() {
    let of = |from, control| {
        let mut room = nodes(&[port_with(from)], 0);
        let mut topology = build(&mut room, 1);
        let plan = topology.plan(Change::Access { function: at("00:01.0"), control }).unwrap();
        (plan.weakens(), plan.mixed().is_some())
    };
    let redirected = AcsBits::ISOLATION;
    let by_vector = redirected | AcsBits::EGRESS_CONTROL;
    assert_eq!(of(redirected, by_vector), (true, false));
    assert_eq!(of(by_vector, redirected), (false, false));
    let not_validated = redirected - AcsBits::SOURCE_VALIDATION;
    assert_eq!(of(by_vector, not_validated), (true, true));
    assert_eq!(of(not_validated, by_vector), (true, true));
}

#[test]
fn a_plan_that_is_dropped_has_changed_nothing() {
    let mut functions = switch();
    functions.push(bridge("00:02.0", Kind::RootPort, 5, 5));
    functions.push(endpoint("05:00.0"));
    let mut room = nodes(&functions, 3);
    let mut topology = build(&mut room, functions.len());
    let before = everything(&topology);
    let changes = [
        Change::PeerToPeer { below: at("00:01.0"), allowed: true },
        Change::Access { function: at("02:00.0"), control: AcsBits::empty() },
        Change::Add(&[endpoint("03:00.1"), endpoint("00:00.0"), endpoint("05:00.3")]),
        Change::Remove(&[at("01:00.0")]),
        Change::Remove(&[at("05:00.0")]),
    ];
    for change in changes {
        let plan = topology.plan(change).unwrap();
        assert_ne!(everything(plan.topology()), before, "{change:?}");
        drop(plan);
        assert_eq!(everything(&topology), before, "{change:?}");
    }
    let refused = [
        (
            Change::Add(&[endpoint("03:00.1"), endpoint("03:00.0")]),
            Contradiction::Twice(at("03:00.0")),
        ),
        (Change::Add(&[endpoint("03:00.1"); 4]), Contradiction::TooMany(11)),
        (Change::Remove(&[at("04:00.0"), at("04:00.7")]), Contradiction::Unknown(at("04:00.7"))),
        (
            Change::PeerToPeer { below: at("05:00.0"), allowed: true },
            Contradiction::NoControl(at("05:00.0")),
        ),
        (
            Change::PeerToPeer { below: at("09:00.0"), allowed: true },
            Contradiction::Unknown(at("09:00.0")),
        ),
        (
            Change::Access { function: at("00:02.0"), control: AcsBits::all() },
            Contradiction::NoControl(at("00:02.0")),
        ),
    ];
    for (change, error) in refused {
        assert_eq!(topology.plan(change).map(|_| ()), Err(error));
        assert_eq!(everything(&topology), before, "{change:?}");
    }
}

#[test]
fn functions_that_come_and_go_change_the_groups_that_they_are_in() {
    let functions = [isolating(bridge("00:01.0", Kind::RootPort, 1, 1)), endpoint("01:00.0")];
    let mut room = nodes(&functions, 2);
    let mut topology = build(&mut room, 2);
    let plan = topology.plan(Change::Add(&[endpoint("01:00.1"), endpoint("00:03.0")])).unwrap();
    assert_eq!(names(plan.regrouped()), ["00:03.0", "01:00.0", "01:00.1"]);
    plan.keep();
    assert_eq!(groups(&topology), ["01:00.0 01:00.1"]);

    let plan = topology.plan(Change::Remove(&[at("01:00.0")])).unwrap();
    assert_eq!(names(plan.removed()), ["01:00.0"]);
    assert_eq!(names(plan.regrouped()), ["01:00.1"], "the one that is left is alone now");
    plan.keep();
    let plan = topology.plan(Change::Remove(&[at("00:01.0")])).unwrap();
    assert_eq!(names(plan.removed()), ["00:01.0", "01:00.1"], "all that is below goes, too");
    plan.keep();
    assert_eq!(names(topology.functions()), ["00:03.0"]);
    topology.plan(Change::Add(&functions)).unwrap().keep();
    assert_eq!(topology.functions().count(), 3, "there is room again for what was taken out");
}
