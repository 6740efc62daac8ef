//! The lines of a trace, numbered and bounded, and the line every trace begins with.

use std::io::{BufRead, Read};

use super::error::{Fault, TraceError};
use crate::source::quote;

/// How the first line begins.
const FIRST: &str = "# IOMMU trace of a real Linux kernel, format ";
/// The only version of the format there is.
const VERSION: &str = "1";
/// Longest line: a scatter list stops at 128 entries, kernel command lines at 4 KiB.
const LONGEST: u64 = 64 * 1024;

/// One line, without its end.
pub(super) struct Line<'a> {
    pub(super) number: u64,
    pub(super) text: &'a str,
}

/// Reads line by line, so that a trace need not fit in memory as text.
pub(super) struct Lines<'f, R> {
    file: &'f str,
    reader: R,
    number: u64,
    text: String,
}

impl<'f, R: BufRead> Lines<'f, R> {
    pub(super) fn new(file: &'f str, reader: R) -> Self {
        Self { file, reader, number: 0, text: String::new() }
    }

    /// The number of the line read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the first line, which says that this is a trace.
    pub(super) fn read_first(&mut self) -> Result<(), TraceError> {
        let expected = format!("a trace that begins with \"{FIRST}{VERSION}\"");
        let file = self.file;
        let Some(line) = self.next_line()? else {
            return Err(Fault::new("an empty file", expected).at(file, 1));
        };
        let version = line.text.strip_prefix(FIRST).map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            rest.split_at(end).0
        });
        match version {
            Some(VERSION) => Ok(()),
            Some(other) => {
                let found = format!("format {}", quote(other));
                Err(Fault::new(found, format!("format {VERSION}")).at(file, line.number))
            }
            None => Err(Fault::new(quote(line.text), expected).at(file, line.number)),
        }
    }

    /// The next line, or `None` at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        self.number += 1;
        let (file, number) = (self.file, self.number);
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut bytes);
        match read {
            Err(error) => {
                return Err(TraceError::Interrupted { file: file.to_owned(), line: number, error });
            }
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        if bytes.len() as u64 > LONGEST {
            let expected = format!("at most {LONGEST} bytes");
            return Err(Fault::new("a longer line", expected).at(file, number));
        }
        // Markers and guest scripts may hold anything; a number with a bad byte is still refused.
        self.text = String::from_utf8_lossy(&bytes).into_owned();
        let text = self.text.trim_end_matches(['\n', '\r']);
        Ok(Some(Line { number, text }))
    }
}
