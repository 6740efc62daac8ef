//! Groups in lines of text.

use std::collections::BTreeMap;
use std::fmt;

use super::compare::Difference;
use super::{Group, Grouped};
use crate::pci::{Captured, Name, class};
use crate::units::{plural, wrap};

/// Columns of lines that are not lists.
const COLUMNS: usize = 100;

/// A machine, ready to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Text<'g> {
    /// The machine.
    pub machine: &'g Grouped,
    /// Where it differs from Linux, if that is asked for.
    pub differences: Option<&'g [Difference]>,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine;
        let known = machine.functions();
        let functions = plural(machine.capture.functions.len() as u64, "function");
        let groups = plural(machine.groups.len() as u64, "group");
        writeln!(f, "{}: {functions}, {groups} ({})", machine.capture.name, machine.mode_name())?;
        for unseen in &machine.capture.unseen {
            paragraph(f, "  not seen: ", unseen)?;
        }
        if let Some(vouched) = machine.vouched_for() {
            paragraph(f, "  overridden: ", &vouched)?;
        }
        for (group, number) in machine.groups.iter().zip(1..) {
            writeln!(f, "group {number}: {}", Members(&known, &group.members))?;
            reasons(f, group)?;
        }
        if !machine.without_unit.is_empty() {
            let members = Members(&known, &machine.without_unit);
            writeln!(f, "behind no IOMMU, not to be assigned: {members}")?;
        }
        if let Some(differences) = self.differences {
            compared(f, differences)?;
        }
        Ok(())
    }
}

/// Functions with what they are.
struct Members<'g>(&'g BTreeMap<Name, &'g Captured>, &'g [Name]);

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.1.iter().enumerate() {
            let words =
                self.0.get(name).map(|function| class::describe(function)).unwrap_or_default();
            write!(f, "{}{name} {words}", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

fn reasons(f: &mut fmt::Formatter<'_>, group: &Group) -> fmt::Result {
    if !group.beside.is_empty() && !group.why.is_empty() {
        let beside = names(&group.beside);
        paragraph(f, "    reaches, behind no IOMMU: ", &beside)?;
    }
    for why in &group.why {
        paragraph(f, "    why: ", why)?;
    }
    for remedies in &group.remedies {
        let of = names(&remedies.of);
        paragraph(f, "    to part: ", &format!("{of}: {}", remedies.steps.join("; ")))?;
    }
    Ok(())
}

fn compared(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    let count = match differences.len() {
        0 => "the same groups as Linux's".to_owned(),
        count => format!("{} from Linux's groups", plural(count as u64, "difference")),
    };
    writeln!(f, "{count}")?;
    for difference in differences {
        let groups = |groups: &[Vec<Name>]| {
            groups.iter().map(|group| format!("{{{}}}", names(group))).collect::<Vec<_>>().join(" ")
        };
        paragraph(f, "  here:  ", &groups(&difference.here))?;
        paragraph(f, "  Linux: ", &groups(&difference.linux))?;
    }
    Ok(())
}

/// Names with commas between.
pub(super) fn names(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

/// `text` behind `head`, its further lines below its first.
fn paragraph(f: &mut fmt::Formatter<'_>, head: &str, text: &str) -> fmt::Result {
    let indent = head.chars().count();
    for (place, line) in wrap(text, COLUMNS - indent).iter().enumerate() {
        if place == 0 {
            writeln!(f, "{head}{line}")?;
        } else {
            writeln!(f, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}
