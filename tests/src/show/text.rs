//! The picture for a terminal: at most 100 columns, and no more lines than one asks for.

use std::fmt;

use super::picture::{Picture, Space, Totals};
use super::ranges::Range;
use super::strip::{Column, Strip};
use crate::units::{bytes, plural, span, wrap};

/// Ranges of one address space that are listed when not all are asked for.
const LISTED: usize = 24;
/// Columns of the strip.
const COLUMNS: usize = WIDTH - INDENT;
/// Columns of a line.
const WIDTH: usize = 100;
/// Where the second column of a line begins.
const INDENT: usize = 14;
/// How full a column is, in eighths.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A picture as text.
#[derive(Clone, Copy, Debug)]
pub struct Text<'p> {
    /// What is shown.
    pub picture: &'p Picture,
    /// Lists all ranges, however many.
    pub all: bool,
    /// Uses the colours of a terminal.
    pub colour: bool,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Picture { name, what, operations, of, spaces } = self.picture;
        for line in wrap(&format!("{name}: {what}"), WIDTH).iter().filter(|_| !what.is_empty()) {
            writeln!(f, "{line}")?;
        }
        let count = plural(spaces.len() as u64, "address space");
        writeln!(f, "{name}: {count} after {operations} of {}", plural(*of, "operation"))?;
        for space in spaces {
            writeln!(f)?;
            self.space(f, space)?;
        }
        Ok(())
    }
}

impl Text<'_> {
    fn space(&self, f: &mut fmt::Formatter<'_>, space: &Space) -> fmt::Result {
        let title = format!("domain {} (context {})", space.domain, space.context);
        writeln!(f, "{}", self.paint("1", &title))?;
        let devices = space.devices.join(", ");
        field(f, "devices", if devices.is_empty() { "none attached" } else { &devices })?;
        if space.tables.is_empty() {
            return field(f, "tables", "no device entry leads to them");
        }
        field(f, "entries", &entries(space))?;
        field(f, "mapped", &mapped(space))?;
        field(f, "unmapped", &unmapped(space))?;
        field(f, "tables", &tables(space))?;
        for reserved in &space.reserved {
            let told = if reserved.enforced { "" } else { ", not enforced" };
            let (range, by) = (span(reserved.first, reserved.last), reserved.asked_by());
            field(f, "reserved", &format!("{range} {}{told}: {by}", reserved.kind))?;
        }
        for strip in Strip::of(space, COLUMNS) {
            self.strip(f, &strip)?;
        }
        self.ranges(f, space)
    }

    fn strip(&self, f: &mut fmt::Formatter<'_>, strip: &Strip) -> fmt::Result {
        let bars: String = strip.columns.iter().map(|column| bar(column, strip.width)).collect();
        writeln!(f, "  {:<12}{}", "where", self.paint("36", bars.trim_end()))?;
        let (left, right) = (format!("{:#x}", strip.first), format!("{:#x}", strip.last()));
        let column = format!("a column is {}", bytes(strip.width));
        if strip.columns.len() == 1 {
            return writeln!(f, "{:INDENT$}{left}, {column}", "");
        }
        let room = strip.columns.len().max(left.len() + right.len() + column.len() + 4);
        let gap = room - left.len() - right.len();
        writeln!(f, "{:INDENT$}{left}{column:^gap$}{right}", "")
    }

    fn ranges(&self, f: &mut fmt::Formatter<'_>, space: &Space) -> fmt::Result {
        let ranges: Vec<&Range> = space.notable().collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let most = if self.all { ranges.len() } else { LISTED };
        let (listed, rest) = ranges.split_at(most.min(ranges.len()));
        let names = listed.iter().map(|range| span(range.first, range.last).len());
        let width = names.max().unwrap_or(0).max("bus frames".len());
        let heads = ["bus frames", "pages", "size", "origin", "frame runs"];
        let ([range, pages, size, origin, runs], access) = (heads, space.format.rights());
        let head =
            format!("{range:<width$} {pages:>8}  {size} {access:<6} {origin:<10} {runs:>10}");
        writeln!(f, "  {}", self.paint("2", &head))?;
        for range in listed {
            let name = span(range.first, range.last);
            let Some((page, pages)) = range.pages() else {
                let frames = range.frames();
                writeln!(
                    f,
                    "  {name:<width$} {frames:>8}  {}",
                    self.paint("31", "broken entries")
                )?;
                continue;
            };
            let (size, access) = (page.size.name(), page.access.name());
            let access = self.paint("36", &format!("{access:<6}"));
            let (origin, runs) = (page.origin.name(), range.runs);
            let line =
                format!("{name:<width$} {pages:>8}  {size:<4} {access} {origin:<10} {runs:>10}");
            writeln!(f, "  {}", format!("{line}  {}", page.remark()).trim_end())?;
        }
        if !rest.is_empty() {
            let pages: u64 = rest.iter().filter_map(|range| range.pages()).map(|(_, n)| n).sum();
            let (ranges, pages) = (plural(rest.len() as u64, "more range"), plural(pages, "page"));
            writeln!(f, "  ... and {ranges} with {pages} (--all lists them)")?;
        }
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line that begins with its name, and goes on below itself where it is too long.
fn field(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    for (number, line) in wrap(text, WIDTH - INDENT).iter().enumerate() {
        writeln!(f, "  {:<12}{line}", if number == 0 { name } else { "" })?;
    }
    Ok(())
}

/// `AMD v1: root, mode 4, next level 3, 2, 1, 0 in leaves; FC in every leaf`
pub(super) fn entries(space: &Space) -> String {
    let Totals { pages, snooped, .. } = space.totals;
    let levels = space.format.levels(space.tables.len());
    let (name, snoop) = (space.format.name(), space.format.snoop());
    let leaves = match (pages, snooped) {
        (0, _) => String::new(),
        (_, 0) => format!("; {snoop} in no leaf"),
        (all, some) if all == some => format!("; {snoop} in every leaf"),
        (all, some) => format!("; {snoop} in {some} of {all} leaves"),
    };
    format!("{name}: {levels}{leaves}")
}

/// `293 pages, 1.1 MiB, in 12 ranges: 293 of 4K; 200 rw, 93 r-; by guest`
pub(super) fn mapped(space: &Space) -> String {
    let totals = &space.totals;
    if totals.pages == 0 {
        return "nothing".to_owned();
    }
    let ranges = space.notable().filter(|range| range.pages().is_some()).count() as u64;
    let list = |items: Vec<String>| items.join(", ");
    let sizes =
        list(totals.sizes.iter().map(|(size, n)| format!("{n} of {}", size.name())).collect());
    let access = list(totals.access.iter().map(|(to, n)| format!("{n} {}", to.name())).collect());
    let origins = match totals.origins.as_slice() {
        [(origin, _)] => format!("by {}", origin.name()),
        many => list(many.iter().map(|(by, n)| format!("{n} by {}", by.name())).collect()),
    };
    let (pages, ranges) = (plural(totals.pages, "page"), plural(ranges, "range"));
    format!("{pages}, {}, in {ranges}: {sizes}; {access}; {origins}", bytes(totals.mapped))
}

/// `256 TiB hit the scratch page, 1 MiB fault`
pub(super) fn unmapped(space: &Space) -> String {
    let totals = &space.totals;
    let kinds = [
        (totals.scratch, "hit the scratch page"),
        (totals.fault, "fault"),
        (totals.broken, "have broken entries"),
    ];
    let there = kinds.iter().filter(|(frames, _)| *frames > 0);
    there.map(|(frames, what)| format!("{} {what}", bytes(*frames))).collect::<Vec<_>>().join(", ")
}

/// `15 frames in 4 levels: 1 + 1 + 1 + 9 from the root down, 3 shared by the background`
pub(super) fn tables(space: &Space) -> String {
    let own: u64 = space.tables.iter().map(|level| level.own).sum();
    let shared: u64 = space.tables.iter().map(|level| level.shared).sum();
    let each: Vec<String> = space.tables.iter().map(|level| level.own.to_string()).collect();
    let background = match shared {
        0 => String::new(),
        _ => format!(", {shared} shared by the background"),
    };
    let (frames, levels) = (plural(own + shared, "frame"), plural(each.len() as u64, "level"));
    format!("{frames} in {levels}: {} from the root down{background}", each.join(" + "))
}

fn bar(column: &Column, width: u64) -> char {
    let Column { mapped, scratch, reserved, broken } = *column;
    if broken > 0 {
        '!'
    } else if mapped > 0 {
        // Rounded up: a single page shows.
        let eighths = (u128::from(mapped) * 8).div_ceil(u128::from(width));
        BARS[usize::try_from(eighths - 1).unwrap_or(0).min(7)]
    } else if reserved > 0 {
        'x'
    } else if scratch > 0 {
        '·'
    } else {
        ' '
    }
}
