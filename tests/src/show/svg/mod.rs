//! The picture as an SVG file: valid on its own, without fonts, scripts or anything from elsewhere,
//! and the same each time it is drawn.
//!
//! ```text
//!  layout: what gets a line ──► card: one address space ──► drawing: the XML
//!           cells: a row of it ──┘            style: colours and legend ──┘
//! ```

mod card;
mod cells;
mod layout;
mod style;

use super::picture::Picture;
use crate::drawing::{Document, label};
use crate::units::{plural, wrap};

/// Where everything begins, and ends, from left to right.
const LEFT: u64 = 36;
const RIGHT: u64 = 1112;
const WIDTH: u64 = RIGHT + LEFT;
/// Letters of a line that is as wide as the picture.
const LETTERS: usize = 160;

/// Draws `picture` as the contents of an SVG file.
#[must_use]
pub fn svg(picture: &Picture) -> String {
    let mut body = Document::default();
    style::define(&mut body);
    body.empty("rect", format_args!(" width=\"100%\" height=\"100%\" class=\"paper\""));
    let mut y = 44;
    label(&mut body, LEFT, y, "title", &picture.name);
    for line in wrap(&picture.what, LETTERS) {
        y += 20;
        label(&mut body, LEFT, y, "dim", &line);
    }
    y += 20;
    let Picture { operations, of, spaces, .. } = picture;
    let count = plural(spaces.len() as u64, "address space");
    let of = plural(*of, "operation");
    let note = format!("{count} after {operations} of {of}; numbers are bus frames of 4 KiB");
    label(&mut body, LEFT, y, "", &note);
    y += 20;
    style::legend(&mut body, LEFT, y, spaces);
    y += 52;
    for space in spaces {
        y = card::draw(&mut body, space, y) + 16;
    }
    let mut out = Document::default();
    let size = format!("width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\"");
    out.open("svg", format_args!(" xmlns=\"http://www.w3.org/2000/svg\" {size}"));
    out.text("title", format_args!(""), &format!("Address spaces of {}", picture.name));
    out.include(body);
    out.finish()
}
