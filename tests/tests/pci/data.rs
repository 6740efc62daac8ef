//! What the tests of readers work on.

use std::fmt::Write;
use std::path::PathBuf;

use pviommu_testbed::pci::{self, Capture, Captured};

/// The files of `tests/pci` with the number of topologies in each.
pub(crate) const FILES: [(&str, usize); 7] = [
    ("handmade.json", 41),
    ("real.json", 6),
    ("real-partial.json.gz", 16),
    ("qemu.json.gz", 25),
    ("random.json.gz", 250),
    ("random-quirks.json.gz", 100),
    ("quirk-table.json.gz", 163),
];

/// The place of a file of `tests/pci`.
pub(crate) fn path(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "pci", file].iter().collect()
}

/// The captures of a file of `tests/pci`.
pub(crate) fn load(file: &str) -> Vec<Capture> {
    pci::open(&path(file)).unwrap()
}

/// What `lspci -xxxx` prints of `functions`, whose configuration space is known.
pub(crate) fn rows(functions: &[Captured]) -> String {
    let mut out = String::new();
    for function in functions {
        let name = pci::class::words(function.class);
        writeln!(out, "{} {name}: Somebody Something", function.name).unwrap();
        for (row, bytes) in function.config.chunks(16).enumerate() {
            write!(out, "{:02x}:", row * 16).unwrap();
            for byte in bytes {
                write!(out, " {byte:02x}").unwrap();
            }
            writeln!(out).unwrap();
        }
        writeln!(out).unwrap();
    }
    out
}

/// The message that `text` is refused with.
pub(crate) fn refusal(text: &str) -> String {
    match pci::read("file", text.as_bytes()) {
        Ok(captures) => panic!("{:.300} was taken for {} captures", text, captures.len()),
        Err(error) => error.to_string(),
    }
}
