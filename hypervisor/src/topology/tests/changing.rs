use super::{at, bridge, build, endpoint, groups, isolating, nodes, switch};
use crate::topology::{AcsBits, Change, Contradiction, Function, Kind, Topology};

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
