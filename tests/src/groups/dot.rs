//! The tree of buses and bridges in the language of Graphviz, coloured by group.

use std::fmt::Write;

use super::Grouped;
use super::palette::{Look, Looks};
use super::tree::{self, Bus};
use crate::pci::{Name, class};

/// Draws `machines` as one graph.
#[must_use]
pub fn dot(machines: &[Grouped]) -> String {
    let mut out = String::new();
    out.push_str("digraph groups {\n  rankdir=LR;\n  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=10];\n  edge [arrowhead=none];\n");
    for (machine, number) in machines.iter().zip(0..) {
        let looks = Looks::new(machine);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  subgraph cluster_{number} {{");
        let name = &machine.capture.name;
        let _ =
            writeln!(out, "    label={};", quoted(&format!("{name} ({})", machine.mode_name())));
        for root in tree::roots(&machine.capture) {
            let id = format!("m{number}bus{:02x}", root.number);
            let _ = writeln!(
                out,
                "    {id} [shape=plaintext, style=\"\", label=\"bus {:02x}\"];",
                root.number
            );
            bus(&mut out, &root, &id, number, &looks);
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    out
}

fn bus(out: &mut String, below: &Bus<'_>, above: &str, machine: usize, looks: &Looks) {
    for branch in &below.functions {
        let name = branch.function.name;
        let id = node(machine, name);
        let words = class::describe(branch.function);
        let (group, fill, line, style) = match looks.of(name) {
            Look::Together(group, (fill, line)) => {
                (format!("group {group}"), fill, line, "filled,rounded")
            }
            Look::Alone(group) => {
                (format!("group {group}"), "#ffffff", "#8896a8", "filled,rounded")
            }
            Look::Without => ("behind no IOMMU".to_owned(), "#ffffff", "#8896a8", "dashed,rounded"),
        };
        let label = quoted(&format!("{name}\n{words}\n{group}"));
        let _ = writeln!(
            out,
            "    {id} [label={label}, fillcolor=\"{fill}\", color=\"{line}\", style=\"{style}\"];"
        );
        let _ = writeln!(out, "    {above} -> {id};");
        if let Some(below) = &branch.below {
            bus(out, below, &id, machine, looks);
        }
    }
}

fn node(machine: usize, name: Name) -> String {
    format!("m{machine}f{:02x}_{:02x}", name.bus, name.devfn)
}

/// A string of Graphviz.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
