//! The drawing of one address space: who is in it, its tables as a tree, and its lines.

use std::fmt::Write;

use super::cells::{self, Look, Run};
use super::layout::{Item, Layout, ROW};
use super::style;
use super::{LEFT, RIGHT};
use crate::drawing::{Document, label};
use crate::show::picture::Space;
use crate::show::ranges::Range;
use crate::show::text;
use crate::units::{bytes, plural, span};

/// Where the cells begin.
const CELLS: u64 = LEFT + 136;
/// Distance from cell to cell and from line to line.
const CELL: u64 = 13;
/// Width of all cells of a row.
const WIDE: u64 = ROW * CELL;
/// Width of a box of the tree, and distance between two.
const BOX: (u64, u64) = (150, 26);
/// Most pages of a bar that are told apart.
const TICKS: u64 = 64;

/// Draws `space` from `top` on, and returns where it ends.
pub(super) fn draw(document: &mut Document, space: &Space, top: u64) -> u64 {
    let layout = Layout::of(space);
    let empty = space.notable().next().is_none();
    // Without a mapping there is nothing to see, so a few words do.
    let body = 116 + 34 + layout.items.len() as u64 * (CELL + 3);
    let bottom = top + if empty { 56 } else { body };
    let (x, width, height) = (LEFT - 12, RIGHT - LEFT + 24, bottom - top);
    let place = format!(" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"6\"");
    document.open("g", format_args!(""));
    document.empty("rect", format_args!("{place} class=\"card\""));
    head(document, space, top);
    if !empty {
        tree(document, space, top + 64);
        let cell = bytes(1 << layout.cell_bits);
        let (row, entries) = (bytes(ROW << layout.cell_bits), text::entries(space));
        let note = format!("a cell is {cell}, a row {row}; entries: {entries}");
        label(document, CELLS, top + 128, "dim", &note);
        label(document, RIGHT, top + 128, "dim right", "mapped");
        let mut y = top + 136;
        for item in &layout.items {
            line(document, space, *item, layout.cell_bits, y);
            y += CELL + 3;
        }
    }
    document.close();
    bottom
}

fn head(document: &mut Document, space: &Space, top: u64) {
    let title = format!("domain {} (context {})", space.domain, space.context);
    label(document, LEFT, top + 24, "head", &title);
    let devices = match space.devices.len() {
        0 => "no device attached".to_owned(),
        1..=4 => space.devices.join(", "),
        more => format!("{}, and {} more", space.devices[..4].join(", "), more - 4),
    };
    label(document, LEFT + 210, top + 24, "mono dim", &devices);
    if space.tables.is_empty() {
        label(document, LEFT, top + 44, "", "no device entry leads to its tables");
        return;
    }
    let empty = space.notable().next().is_none();
    let tables = if empty { format!("; {}", text::tables(space)) } else { String::new() };
    label(document, LEFT, top + 44, "", &format!("mapped: {}{tables}", text::mapped(space)));
    label(document, RIGHT, top + 44, "dim right", &format!("unmapped: {}", text::unmapped(space)));
}

/// The tables of each level, from the root on.
fn tree(document: &mut Document, space: &Space, y: u64) {
    let mut x = LEFT;
    let middle = y + 18;
    for (place, level) in space.tables.iter().enumerate() {
        if place > 0 {
            let from = x - BOX.1;
            document
                .empty("path", format_args!(" class=\"line\" d=\"M{from} {middle}h{}\"", BOX.1));
        }
        let class = if level.shared > 0 { "shared" } else { "table" };
        let size = format!("width=\"{}\" height=\"36\" rx=\"4\"", BOX.0);
        document.empty("rect", format_args!(" x=\"{x}\" y=\"{y}\" {size} class=\"{class}\""));
        let center = x + BOX.0 / 2;
        let name = space.format.table(level.level, place == 0);
        label(document, center, y + 15, "middle dim", &name);
        let shared = match level.shared {
            0 => String::new(),
            shared => format!(" + {shared} shared"),
        };
        let tables = format!("{}{shared}", plural(level.own, "table"));
        label(document, center, y + 30, "middle", &tables);
        x += BOX.0 + BOX.1;
    }
    if !space.tables.is_empty() {
        let range = span(0, (1_u64 << space.frame_bits) - 1);
        label(document, x, middle + 4, "mono dim", &format!("bus frames {range}"));
    }
}

fn line(document: &mut Document, space: &Space, item: Item, cell_bits: u32, y: u64) {
    let place = format!(" x=\"{CELLS}\" y=\"{y}\" width=\"{WIDE}\" height=\"{CELL}\"");
    let left = |document: &mut Document, first: u64| {
        label(document, CELLS - 8, y + 10, "mono right", &format!("{first:#x}"));
    };
    match item {
        Item::Row(first) => {
            left(document, first);
            document.empty("rect", format_args!("{place} class=\"fault\""));
            let (runs, mapped) = cells::row(space, first, cell_bits);
            for run in &runs {
                cells_of(document, run, y);
            }
            label(document, RIGHT, y + 10, "mono right dim", &bytes(mapped));
        }
        Item::Bar(number, first, last) => {
            left(document, first);
            let range = space.notable().nth(number);
            bar(document, range, (first, last), &place, y);
            label(document, RIGHT, y + 10, "mono right dim", &bytes(last - first + 1));
        }
        Item::Gap(first, last) => {
            let frames = last - first + 1;
            let hits = |range: &Range| range.common(first, last);
            let from = space.ranges.partition_point(|range| range.last < first);
            let inside = space.ranges.iter().skip(from).take_while(|range| range.first <= last);
            let scratch: u64 = inside.map(hits).sum();
            let (class, what) = match scratch {
                0 => ("fault", "faults"),
                all if all == frames => ("scratch", "hits the scratch page"),
                _ => ("scratch", "hits the scratch page, or faults"),
            };
            document.empty("rect", format_args!("{place} class=\"{class}\""));
            let text = format!("{}: {} {what}", span(first, last), bytes(frames));
            label(document, CELLS + WIDE / 2, y + 10, "mono middle dim", &text);
        }
        Item::Reserved(number, first, last) => {
            document.empty("rect", format_args!("{place} class=\"hatched\""));
            let reserved = &space.reserved[number];
            let text = format!(
                "{}: {} reserved, {} ({})",
                span(first, last),
                bytes(last - first + 1),
                reserved.kind,
                reserved.asked_by()
            );
            plate(document, "paper", "mono middle", &text, y);
        }
    }
}

/// A text on a plate, where what is behind it would make it hard to read.
fn plate(document: &mut Document, behind: &str, class: &str, text: &str, y: u64) {
    let (center, wide) = (CELLS + WIDE / 2, 7 * text.chars().count() as u64 + 8);
    let x = center - wide.min(WIDE) / 2;
    let size = format!("width=\"{}\" height=\"{CELL}\"", wide.min(WIDE));
    document.empty("rect", format_args!(" x=\"{x}\" y=\"{y}\" {size} class=\"{behind}\""));
    label(document, center, y + 10, class, text);
}

fn cells_of(document: &mut Document, run: &Run, y: u64) {
    let (x, width) = (CELLS + run.at * CELL, run.cells * CELL);
    let whole = |document: &mut Document, class: &str| {
        let place = format!(" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{CELL}\"");
        document.empty("rect", format_args!("{place} class=\"{class}\""));
    };
    match &run.look {
        Look::Broken => whole(document, "broken"),
        Look::Reserved => whole(document, "hatched"),
        Look::Scratch => whole(document, "scratch"),
        Look::Pages { class, large: true, quarters: 4 } => whole(document, class),
        Look::Pages { class, quarters, .. } => {
            let side = CELL - 1;
            let mut path = String::new();
            for cell in 0..run.cells {
                // Writing to a string cannot fail.
                let _ = write!(path, "M{} {y}h{side}v{side}h-{side}z", x + cell * CELL);
            }
            let share = if *quarters == 4 { String::new() } else { format!(" part{quarters}") };
            document.empty("path", format_args!(" d=\"{path}\" class=\"{class}{share}\""));
        }
    }
}

/// A long stretch of one range, with its pages told apart if they are few.
fn bar(document: &mut Document, range: Option<&Range>, span: (u64, u64), place: &str, y: u64) {
    let frames = span.1 - span.0 + 1;
    let Some((range, (page, _))) = range.and_then(|range| Some((range, range.pages()?))) else {
        document.empty("rect", format_args!("{place} class=\"broken\""));
        return;
    };
    document.empty("rect", format_args!("{place} class=\"{}\"", style::class(&page)));
    let size = page.size.frames();
    // A bar may begin and end within a large page, so its pages are counted by their edges.
    let edges = || {
        let first = span.0.next_multiple_of(size);
        (0..).map(move |i| first + i * size).take_while(|edge| *edge <= span.1)
    };
    let inner = span.1 / size - span.0 / size;
    if inner < TICKS {
        let mut path = String::new();
        for edge in edges().filter(|edge| *edge > span.0) {
            let x = u128::from(CELLS)
                + u128::from(edge - span.0) * u128::from(WIDE) / u128::from(frames);
            let _ = write!(path, "M{x} {y}v{CELL}");
        }
        if !path.is_empty() {
            document.empty("path", format_args!(" d=\"{path}\" class=\"rule\""));
        }
    }
    let pages = plural(inner + 1, "page");
    let whole = if (range.first, range.last) == span { "" } else { "part of a range: " };
    let (size, access, origin) = (page.size.name(), page.access.name(), page.origin.name());
    let text = format!("{whole}{pages} of {size}, {access}, {origin} {}", page.remark());
    let colour = style::class(&page);
    let colour = colour.split(' ').next().unwrap_or_default();
    plate(document, colour, "mono middle onbar", text.trim_end(), y);
}
