//! From a file of any form to captures: the form is found out by what stands in it.

use std::io::Read;
use std::path::Path;

use super::capture::Capture;
use super::error::{Fault, PciError, Place};
use super::{json, lspci};
use crate::source;

/// Longest text that is read: some hundred times a large machine in full.
const LONGEST: u64 = 256 << 20;

/// Reads the file at `path`, plain or gzip, whatever its form; `-` is the standard input.
///
/// # Errors
/// [`PciError`] if it cannot be read or is of no form that is known.
pub fn open(path: &Path) -> Result<Vec<Capture>, PciError> {
    match source::open(path) {
        (file, Ok(bytes)) => read(&file, bytes),
        (file, Err(error)) => Err(PciError::Unreadable { file, error }),
    }
}

/// Reads captures from `bytes`, plain or gzip, whatever their form; `file` is their name in
/// messages.
///
/// # Errors
/// [`PciError`] if they cannot be read or are of no form that is known.
pub fn read(file: &str, bytes: impl Read) -> Result<Vec<Capture>, PciError> {
    let unreadable = |error| PciError::Unreadable { file: file.to_owned(), error };
    let mut text = Vec::new();
    let source = source::text(bytes).map_err(unreadable)?;
    source.take(LONGEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    let whole = |found: &str, expected: &str| Fault::new(found, expected).at(file, Place::Whole);
    if text.len() as u64 > LONGEST {
        return Err(whole("more than 256 MiB", "less"));
    }
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => Err(whole("nothing", "a machine: pviommu-pci-1, lspci -xxxx or lspci -vvv")),
        Some(b'{' | b'[') => json::read(file, &text),
        Some(_) => {
            // Names of devices may hold anything.
            let text = String::from_utf8_lossy(&text);
            if lspci::is_like(&text) {
                return lspci::read(file, &text);
            }
            let line = text.lines().zip(1..).find(|(line, _)| !line.trim().is_empty());
            let (line, number) = line.unwrap_or_default();
            let expected = "pviommu-pci-1 in JSON, or what lspci -xxxx or lspci -vvv prints";
            Err(Fault::new(source::quote(line), expected).at(file, Place::Line(number)))
        }
    }
}
