//! The tree of buses and bridges as an SVG file, coloured by group: valid on its own, without
//! fonts, scripts or anything from elsewhere, and the same each time it is drawn.
//!
//! Each bus is a column of boxes, one a function; what is below a bridge stands to its right.

use std::fmt::Write;

use super::Grouped;
use super::palette::{Look, Looks};
use super::tree::{self, Bus};
use crate::drawing::{Document, TEXT_STYLE, label};
use crate::pci::{Captured, class};
use crate::units::{plural, wrap};

/// Space around everything.
const MARGIN: u64 = 36;
/// A box, and the way from one to the next, across and down.
const BOX: (u64, u64) = (244, 34);
const STEP: (u64, u64) = (BOX.0 + 56, BOX.1 + 6);
/// Widest the picture is made for its texts.
const LEAST_WIDTH: u64 = 760;
/// Letters of the class in a box, which leave room for the number of the group.
const LETTERS: usize = 31;

/// Draws `machines`, one below the other.
#[must_use]
pub fn svg(machines: &[Grouped]) -> String {
    let trees: Vec<Vec<Bus<'_>>> = machines.iter().map(|it| tree::roots(&it.capture)).collect();
    let depth = trees.iter().flatten().map(Bus::depth).max().unwrap_or(1);
    let width = (2 * MARGIN + depth * STEP.0 + 24).max(LEAST_WIDTH);
    let mut body = Document::default();
    body.text("style", format_args!(""), &style());
    body.empty("rect", format_args!(" width=\"100%\" height=\"100%\" class=\"paper\""));
    let mut y = 8;
    for (machine, tree) in machines.iter().zip(&trees) {
        y = draw(&mut body, machine, tree, width, y) + 20;
    }
    let mut out = Document::default();
    let size = format!("width=\"{width}\" height=\"{y}\" viewBox=\"0 0 {width} {y}\"");
    out.open("svg", format_args!(" xmlns=\"http://www.w3.org/2000/svg\" {size}"));
    let names: Vec<&str> = machines.iter().map(|it| it.capture.name.as_str()).collect();
    out.text("title", format_args!(""), &format!("Isolation groups of {}", names.join(", ")));
    out.include(body);
    out.finish()
}

fn style() -> String {
    let mut rules = String::from(TEXT_STYLE);
    rules.push_str(
        ".line{stroke:#8896a8;fill:none;stroke-width:1.2}.alone{fill:#ffffff;stroke:#8896a8}\
         .without{fill:#ffffff;stroke:#8896a8;stroke-dasharray:4 3}.bold{font-weight:bold}\
         .small{font-size:11px}",
    );
    rules
}

/// Draws `machine` from `top` on, and returns where it ends.
fn draw(document: &mut Document, machine: &Grouped, tree: &[Bus<'_>], width: u64, top: u64) -> u64 {
    let looks = Looks::new(machine);
    let mut y = top + 36;
    label(document, MARGIN, y, "title", &machine.capture.name);
    let letters = usize::try_from((width - 2 * MARGIN) / 7).unwrap_or(80);
    let functions = plural(machine.capture.functions.len() as u64, "function");
    let groups = plural(machine.groups.len() as u64, "group");
    let mut lines = wrap(&machine.capture.description, letters);
    lines.push(format!("{functions} in {groups} ({})", machine.mode_name()));
    for unseen in &machine.capture.unseen {
        lines.extend(wrap(&format!("not seen: {unseen}"), letters));
    }
    let vouched = machine.vouched_for();
    lines.extend(vouched.into_iter().flat_map(|who| wrap(&format!("overridden: {who}"), letters)));
    for line in &lines {
        y += 18;
        label(document, MARGIN, y, "", line);
    }
    y = legend(document, machine, &looks, width, y + 12) + 16;
    for root in tree {
        let rows = root.rows().max(1);
        label(document, MARGIN, y + 10, "small dim", &format!("bus {:02x}", root.number));
        y += 16;
        bus(document, root, &looks, (MARGIN, y));
        y += rows * STEP.1 + 4;
    }
    y
}

/// Explains the colours, and returns where it ends.
fn legend(document: &mut Document, machine: &Grouped, looks: &Looks, width: u64, top: u64) -> u64 {
    let mut entries: Vec<(Look, String)> = Vec::new();
    for (group, number) in machine.groups.iter().zip(1..) {
        let look = looks.of(group.members[0]);
        if let Look::Together(..) = look {
            let members = plural(group.members.len() as u64, "function");
            entries.push((look, format!("group {number}, {members}")));
        }
    }
    if machine.groups.iter().any(|group| group.members.len() == 1) {
        entries.push((Look::Alone(0), "alone in its group".to_owned()));
    }
    if !machine.without_unit.is_empty() {
        entries.push((Look::Without, "behind no IOMMU".to_owned()));
    }
    let (mut x, mut y) = (MARGIN, top);
    for (look, text) in &entries {
        let wide = 28 + 7 * text.chars().count() as u64;
        if x + wide > width - MARGIN && x > MARGIN {
            (x, y) = (MARGIN, y + 20);
        }
        rect(document, *look, (x, y), (14, 14));
        label(document, x + 20, y + 11, "", text);
        x += wide + 12;
    }
    y + 14
}

/// Draws a bus with all that is below it.
fn bus(document: &mut Document, below: &Bus<'_>, looks: &Looks, (x, top): (u64, u64)) {
    let mut y = top;
    for branch in &below.functions {
        function(document, branch.function, looks.of(branch.function.name), (x, y));
        if let Some(next) = branch.below.as_ref().filter(|next| !next.functions.is_empty()) {
            wires(document, next, (x + BOX.0, y));
            bus(document, next, looks, (x + STEP.0, y));
        }
        y += branch.rows() * STEP.1;
    }
}

/// Draws what leads from a bridge, whose box ends at `(x, y)`, to each function of the bus below.
fn wires(document: &mut Document, below: &Bus<'_>, (x, y): (u64, u64)) {
    let (middle, gap) = (y + BOX.1 / 2, STEP.0 - BOX.0);
    let spine = x + gap - 16;
    let mut path = format!("M{x} {middle}H{}", x + gap);
    let mut row = middle;
    let mut last = middle;
    for branch in &below.functions {
        if row > middle {
            // Writing to a string cannot fail.
            let _ = write!(path, "M{spine} {row}h16");
            last = row;
        }
        row += branch.rows() * STEP.1;
    }
    if last > middle {
        let _ = write!(path, "M{spine} {middle}V{last}");
    }
    document.empty("path", format_args!(" class=\"line\" d=\"{path}\""));
    let number = format!("{:02x}", below.number);
    label(document, x + 8, middle - 4, "mono dim", &number);
}

fn function(document: &mut Document, function: &Captured, look: Look, (x, y): (u64, u64)) {
    rect(document, look, (x, y), BOX);
    let shade = if look == Look::Without { " dim" } else { "" };
    label(document, x + 8, y + 14, &format!("mono bold{shade}"), &function.name.to_string());
    let ids = format!("{:04x}:{:04x}", function.vendor, function.device);
    label(document, x + 68, y + 14, "mono dim", &ids);
    if function.virtual_function {
        label(document, x + 142, y + 14, "small dim", "virtual");
    }
    let words = class::describe(function);
    let words: String = match words.char_indices().nth(LETTERS + 1) {
        Some(_) => words.chars().take(LETTERS).chain(['…']).collect(),
        None => words,
    };
    label(document, x + 8, y + 28, &format!("small{shade}"), &words);
    if let Look::Together(group, _) | Look::Alone(group) = look {
        label(document, x + BOX.0 - 8, y + 22, "dim right", &group.to_string());
    }
}

fn rect(document: &mut Document, look: Look, (x, y): (u64, u64), (width, height): (u64, u64)) {
    let place = format!(" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\"");
    match look {
        Look::Together(_, (fill, line)) => {
            document.empty("rect", format_args!("{place} fill=\"{fill}\" stroke=\"{line}\""));
        }
        Look::Alone(_) => document.empty("rect", format_args!("{place} class=\"alone\"")),
        Look::Without => document.empty("rect", format_args!("{place} class=\"without\"")),
    }
}
