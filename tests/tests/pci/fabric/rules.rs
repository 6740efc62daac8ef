//! The rules that groups are made by, restated without a router: it must come to the same.

use pviommu_testbed::pci::fabric::Fabric;
use pviommu_testbed::pci::random::random;
use pviommu_testbed::pci::{Capture, Captured, Kind, Name};

/// Identities for which a vendor states something, and which the rules here leave out.
fn without_statements(mut capture: Capture) -> Capture {
    for function in &mut capture.functions {
        let kept = matches!(
            (function.vendor, function.device),
            (0x1180 | 0x1b4b | 0x6766 | 0x1103 | 0x197b | 0x9005 | 0x10b5 | 0x1b21 | 0x10e3, _)
                | (0x1283, _)
                | (0x14e4, 0x9000 | 0x9084)
        );
        if !kept {
            (function.vendor, function.device) = (0x1234, 0x1111);
        }
    }
    capture
}

struct Rules<'a> {
    capture: &'a Capture,
    fabric: &'a Fabric,
    group: Vec<usize>,
}

impl Rules<'_> {
    fn join(&mut self, a: usize, b: usize) {
        let (from, to) = (self.group[a], self.group[b]);
        self.group.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
    }

    fn function(&self, at: usize) -> &Captured {
        &self.capture.functions[at]
    }

    fn above(&self, at: usize) -> Option<usize> {
        let bus = self.function(at).name.bus;
        let covers = |other: &usize| {
            self.function(*other)
                .buses
                .is_some_and(|b| (b.secondary..=b.subordinate).contains(&bus))
        };
        let bridges = (0..self.group.len()).filter(covers);
        bridges.max_by_key(|bridge| self.function(*bridge).buses.unwrap().secondary)
    }

    fn is_below(&self, at: usize, bridge: usize) -> bool {
        std::iter::successors(self.above(at), |up| self.above(*up)).any(|up| up == bridge)
    }

    fn isolates(&self, at: usize) -> bool {
        let function = self.function(at);
        let has_none = matches!(
            function.kind,
            None | Some(
                Kind::Conventional | Kind::PcieToPci | Kind::PciToPcie | Kind::EventCollector
            )
        );
        !has_none && function.acs.is_some_and(|(can, on)| can & !on & 0x1d == 0)
    }

    fn same_device(&self, a: usize, b: usize) -> bool {
        let device = |at: usize| {
            let mut name = self.function(at).name;
            if self.function(at).virtual_function {
                // Made-up devices have their physical functions at 0.
                let bridge = self.function(self.above(at).unwrap());
                name = Name { bus: bridge.buses.unwrap().secondary, devfn: 0 };
            }
            let ari = self.capture.functions.iter().any(|f| f.ari && f.name.bus == name.bus);
            (name.bus, if ari { 0 } else { name.slot() })
        };
        device(a) == device(b)
    }

    fn is_silent(&self, at: usize) -> bool {
        let f = self.function(at);
        f.class == 0x06_0000 && f.kind == Some(Kind::Conventional) && self.above(at).is_none()
    }

    fn is_open_below(&self, bridge: usize) -> bool {
        let on_bus = (0..self.group.len()).filter(|at| self.above(*at) == Some(bridge));
        match self.function(bridge).kind {
            Some(Kind::Downstream) => false,
            Some(Kind::RootPort) => !self.isolates(bridge),
            Some(Kind::Upstream) => on_bus.into_iter().any(|at| {
                let other_ids = self.fabric.requesters(self.function(at).name).len() > 1;
                self.function(at).kind != Some(Kind::Downstream) || !self.isolates(at) || other_ids
            }),
            _ => true,
        }
    }

    fn groups(mut self) -> Vec<Vec<Name>> {
        let all = 0..self.group.len();
        let bridges: Vec<usize> =
            all.clone().filter(|at| self.function(*at).buses.is_some()).collect();
        for a in all.clone() {
            for b in all.clone().filter(|b| *b != a) {
                let [of_a, of_b] = [a, b].map(|at| self.fabric.requesters(self.function(at).name));
                let same_id = of_a.iter().any(|id| of_b.contains(id));
                let open = !self.isolates(a) && !self.is_silent(a);
                if same_id || self.same_device(a, b) && open {
                    self.join(a, b);
                    for bridge in [a, b] {
                        self.join_with_all_below(bridge);
                    }
                }
            }
        }
        for bridge in bridges {
            if self.is_open_below(bridge) {
                self.join_with_all_below(bridge);
            }
        }
        let mut groups: Vec<Vec<Name>> = vec![Vec::new(); self.group.len()];
        for at in all {
            groups[self.group[at]].push(self.function(at).name);
        }
        groups.retain(|group| !group.is_empty());
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups.sort_unstable();
        groups
    }

    fn join_with_all_below(&mut self, bridge: usize) {
        for at in 0..self.group.len() {
            if self.is_below(at, bridge) {
                self.join(at, bridge);
            }
        }
    }
}

#[test]
fn routing_comes_to_what_the_rules_say() {
    for seed in 0..600 {
        let capture = without_statements(random(seed));
        let fabric = Fabric::new(&capture);
        let group = (0..capture.functions.len()).collect();
        let expected = Rules { capture: &capture, fabric: &fabric, group }.groups();
        assert_eq!(fabric.groups(), expected, "seed {seed}");
    }
}
