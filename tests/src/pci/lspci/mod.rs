//! What `lspci` prints: bytes with `-x`, `-xxx` or `-xxxx`, words with `-v` or more.
//!
//! Both have a line for each function, with lines that belong to it below. Where there are bytes,
//! words are passed over.

mod hex;
mod line;
mod suspect;
mod text;
mod words;

use std::collections::BTreeMap;

use super::capture::{Capture, Captured, Name};
use super::config::{self, Virtual};
use super::error::{Fault, PciError, Place};
use line::Device;

/// The functions with what was printed below each.
struct Block<'t> {
    /// The line it begins with, from 1 on.
    number: u64,
    device: Device<'t>,
    /// Lines that belong to it, with their numbers.
    lines: Vec<(u64, &'t str)>,
}

/// One function as it was read.
struct Read {
    function: Captured,
    virtuals: Option<Virtual>,
}

/// One segment: functions, and what the physical ones among them have switched on.
type Segment = (Vec<Captured>, Vec<(Name, Virtual)>);

/// True if `text` has a line that only `lspci` prints, and no other form has.
#[must_use]
pub fn is_like(text: &str) -> bool {
    text.lines().any(|line| line::device(line).is_some())
}

/// The machine in `text`, which came from `file`: one capture for each segment.
///
/// # Errors
/// [`PciError`] with the line, if it is not what `lspci` prints.
pub fn read(file: &str, text: &str) -> Result<Vec<Capture>, PciError> {
    let blocks = blocks(file, text)?;
    let bytes = blocks.iter().flat_map(|block| &block.lines).any(|(_, line)| hex::is_row(line));
    let mut unseen = Vec::new();
    let mut segments: BTreeMap<u32, Segment> = BTreeMap::new();
    for block in &blocks {
        let read = if bytes { hex::function(file, block)? } else { text::function(file, block)? };
        let (functions, virtuals) = segments.entry(block.device.segment).or_default();
        virtuals.extend(read.virtuals.map(|virtuals| (read.function.name, virtuals)));
        functions.push(read.function);
    }
    if bytes {
        hex::unseen(
            &segments.values().flat_map(|(functions, _)| functions).collect::<Vec<_>>(),
            &mut unseen,
        );
    } else {
        text::unseen(&blocks, &mut unseen);
    }
    let several = segments.len() > 1;
    let captures = segments.into_iter().map(|(segment, (functions, virtuals))| {
        let name = if several { format!("{file} segment {segment:04x}") } else { file.to_owned() };
        let mut capture =
            Capture { functions, unseen: unseen.clone(), ..Capture::new(name, segment) };
        config::mark_virtual(&mut capture.functions, &virtuals);
        capture.check(file)?;
        Ok(capture)
    });
    captures.collect()
}

fn blocks<'t>(file: &str, text: &'t str) -> Result<Vec<Block<'t>>, PciError> {
    let mut blocks: Vec<Block<'t>> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if let Some(device) = line::device(line) {
            blocks.push(Block { number, device, lines: Vec::new() });
            continue;
        }
        // What it says about itself goes to another stream, but people put the two together.
        let is_nothing = line.trim().is_empty()
            || ["pcilib:", "lspci:", "#"].iter().any(|start| line.starts_with(start));
        if is_nothing {
            continue;
        }
        let belongs = line.starts_with([' ', '\t']) || hex::is_row(line);
        match blocks.last_mut() {
            Some(block) if belongs => block.lines.push((number, line)),
            _ => {
                let expected = "a function as [ssss:]bb:dd.f, as lspci prints it";
                let fault = Fault::new(crate::source::quote(line), expected);
                return Err(fault.at(file, Place::Line(number)));
            }
        }
    }
    Ok(blocks)
}
