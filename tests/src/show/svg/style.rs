//! Colours, and the legend that explains them.

use crate::drawing::{Document, TEXT_STYLE};
use crate::show::entry::{Access, Origin, Page, PageSize, Target};
use crate::show::picture::Space;
use crate::show::ranges::Range;

/// Colours of mapped pages: the access chooses the hue, the size how dark it is.
const HUES: [(Access, &str, [&str; 3]); 4] = [
    (Access::Both, "read and write", ["#4dbfa9", "#1f8a78", "#0d574b"]),
    (Access::Read, "read only", ["#6fa3ee", "#3a6fc4", "#1d4587"]),
    (Access::Write, "write only", ["#f4b45f", "#d98324", "#96550c"]),
    (Access::None, "no access", ["#b9b9b9", "#8c8c8c", "#5f5f5f"]),
];

/// Outlines of pages that are no memory of the guest, or that not the guest mapped.
const OUTLINES: [(Origin, Target, &str); 5] = [
    (Origin::Guest, Target::Registers, "#24292f"),
    (Origin::Guest, Target::Foreign, "#d4a72c"),
    (Origin::Initial, Target::Memory, "#444444"),
    (Origin::Maintained, Target::Memory, "#8a2be2"),
    (Origin::Reserved, Target::Memory, "#c0392b"),
];

/// The class of a page's colour.
pub(super) fn class(page: &Page) -> String {
    let access = match page.access {
        Access::Both => "rw",
        Access::Read => "r",
        Access::Write => "w",
        Access::None => "n",
    };
    let size = page.size.name().to_lowercase();
    format!("{access}{size} {}", outline(page.origin, page.target)).trim_end().to_owned()
}

/// The class of a page's outline; the usual page has none.
const fn outline(origin: Origin, target: Target) -> &'static str {
    match (origin, target) {
        (Origin::Guest, Target::Memory) => "",
        (Origin::Guest, Target::Registers) => "registers",
        (Origin::Guest, Target::Foreign) => "foreign",
        (origin, _) => origin.name(),
    }
}

/// Colours and hatching, for the whole document.
pub(super) fn define(document: &mut Document) {
    let mut rules = String::from(TEXT_STYLE);
    rules.push_str(
        ".fault{fill:#f3f4f6}.hatched{fill:url(#hatch)}.scratch{fill:#e4daf5}.broken{fill:#d1242f}\
         .table{fill:#eef2f7;stroke:#8896a8}.shared{fill:#e4daf5;stroke:#8a63c9}\
         .line{stroke:#8896a8;fill:none}.rule{stroke:#ffffff;fill:none}.part1{opacity:.4}.part2{opacity:.6}.part3{opacity:.8}\
         .onbar{fill:#ffffff;font-weight:bold}",
    );
    for (access, _, colours) in HUES {
        for (size, colour) in PageSize::ALL.iter().zip(colours) {
            let page = page(access, *size, Origin::Guest, Target::Memory);
            rules.push_str(&format!(".{}{{fill:{colour}}}", class(&page)));
        }
    }
    for (origin, target, colour) in OUTLINES {
        let name = outline(origin, target);
        rules.push_str(&format!(".{name}{{stroke:{colour};stroke-width:1.2}}"));
    }
    document.text("style", format_args!(""), &rules);
    document.open("defs", format_args!(""));
    let size = "width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\"";
    document.open("pattern", format_args!(" id=\"hatch\" {size}"));
    document.empty("rect", format_args!(" width=\"7\" height=\"7\" fill=\"#fbe9e7\""));
    let lines = "M-1 1l2 -2M0 7l7 -7M6 8l2 -2";
    document.empty("path", format_args!(" d=\"{lines}\" stroke=\"#d9776c\" stroke-width=\"1.4\""));
    document.close();
    document.close();
}

fn page(access: Access, size: PageSize, origin: Origin, target: Target) -> Page {
    Page { size, access, origin, target, referenced: true, snoop: true }
}

/// Explains at `y` what is in `spaces`.
pub(super) fn legend(document: &mut Document, left: u64, y: u64, spaces: &[Space]) {
    let has = |wanted: fn(&Space) -> bool| spaces.iter().any(wanted);
    let mut x = left;
    for (access, name, _) in HUES {
        let used = |space: &Space| space.totals.access.iter().any(|(its, _)| *its == access);
        if access == Access::None && !spaces.iter().any(used) {
            continue;
        }
        document.text("text", format_args!(" x=\"{x}\" y=\"{}\"", y + 11), name);
        x += 12 + width(name);
        for size in PageSize::ALL {
            let page = page(access, size, Origin::Guest, Target::Memory);
            x = swatch(document, x, y, &class(&page), size.name());
        }
        x += 18;
    }
    let (mut x, y) = (left, y + 24);
    let kinds = [
        (true, "hatched", "reserved"),
        (has(Space::has_scratch), "scratch", "hits the scratch page"),
        (has(|space| space.totals.fault > 0), "fault", "faults"),
        (has(|space| space.totals.broken > 0), "broken", "broken entry"),
    ];
    for (_, class, name) in kinds.iter().filter(|(there, ..)| *there) {
        x = swatch(document, x, y, class, name) + 12;
    }
    for (origin, target, _) in OUTLINES {
        let such = |range: &Range| {
            let page = range.pages().map(|(page, _)| outline(page.origin, page.target));
            page == Some(outline(origin, target))
        };
        if spaces.iter().any(|space| space.ranges.iter().any(such)) {
            let page = page(Access::Both, PageSize::Small, origin, target);
            x = swatch(document, x, y, &class(&page), outline(origin, target)) + 12;
        }
    }
    let rest = "no outline: memory that the guest mapped; paler: a part of the cell";
    document.text("text", format_args!(" x=\"{x}\" y=\"{}\" class=\"dim\"", y + 11), rest);
}

/// About as wide as a text is.
fn width(text: &str) -> u64 {
    7 * text.chars().count() as u64
}

/// A square with a name; returns where the next thing may stand.
fn swatch(document: &mut Document, x: u64, y: u64, class: &str, name: &str) -> u64 {
    let size = "width=\"13\" height=\"13\"";
    document.empty("rect", format_args!(" x=\"{x}\" y=\"{y}\" {size} class=\"{class}\""));
    document.text("text", format_args!(" x=\"{}\" y=\"{}\"", x + 18, y + 11), name);
    x + 28 + width(name)
}
