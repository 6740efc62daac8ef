//! Colours of groups: those with several members have one, single functions none.

use super::Grouped;
use crate::pci::Name;

/// Fill and outline, told apart by hue and by how light they are.
const COLOURS: [(&str, &str); 12] = [
    ("#cfe3f8", "#3a6fc4"),
    ("#fbdcb4", "#c26a00"),
    ("#d2edd0", "#2f8a3d"),
    ("#f8d0d6", "#c0394b"),
    ("#e3d9f5", "#7a52c0"),
    ("#f6efb0", "#94830a"),
    ("#c9eeea", "#14807a"),
    ("#f5d3ee", "#b03a96"),
    ("#e4d6c8", "#7d5632"),
    ("#dfe5ea", "#526270"),
    ("#e2f0b8", "#5f7f12"),
    ("#ffd0b8", "#d14f18"),
];

/// What a function looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// In the group of this number, with others; and its colours.
    Together(usize, (&'static str, &'static str)),
    /// In the group of this number, alone.
    Alone(usize),
    /// In none: behind no IOMMU.
    Without,
}

/// The looks of the functions of a machine.
pub(super) struct Looks {
    groups: std::collections::BTreeMap<Name, Look>,
}

impl Looks {
    /// Those of `machine`: groups get colours in turn.
    pub(super) fn new(machine: &Grouped) -> Self {
        let mut groups = std::collections::BTreeMap::new();
        let mut colours = COLOURS.iter().copied().cycle();
        for (group, number) in machine.groups.iter().zip(1..) {
            let look = match (group.members.len(), colours.clone().next()) {
                (2.., Some(colour)) => {
                    colours.next();
                    Look::Together(number, colour)
                }
                _ => Look::Alone(number),
            };
            groups.extend(group.members.iter().map(|member| (*member, look)));
        }
        Self { groups }
    }

    /// That of one function.
    pub(super) fn of(&self, name: Name) -> Look {
        self.groups.get(&name).copied().unwrap_or(Look::Without)
    }
}
