//! What can be wrong with a trace, and where.

use std::fmt;
use std::io;

use crate::source::quote;

/// A trace could not be read, or does not follow the format.
#[derive(Debug)]
pub enum TraceError {
    /// The file could not be opened, read or decompressed at its beginning.
    Unreadable {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// Reading stopped in the middle: a broken or truncated gzip stream, or the device.
    Interrupted {
        /// The name of the file.
        file: String,
        /// The line that could not be read.
        line: u64,
        /// Why.
        error: io::Error,
    },
    /// A line is not what the format asks for.
    Malformed {
        /// The name of the file.
        file: String,
        /// The number of the line, from 1 on.
        line: u64,
        /// What stood there.
        found: String,
        /// What the format asks for.
        expected: String,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "{file}: cannot be read: {error}"),
            Self::Interrupted { file, line, error } => {
                write!(f, "{file}:{line}: reading stopped here: {error}; expected a whole file")
            }
            Self::Malformed { file, line, found, expected } => {
                write!(f, "{file}:{line}: found {found}, expected {expected}")
            }
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } | Self::Interrupted { error, .. } => Some(error),
            Self::Malformed { .. } => None,
        }
    }
}

/// What is wrong with a line, before it is known which line that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    found: String,
    expected: String,
}

impl Fault {
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }

    /// The field `name` holds `value`, which is not `expected`.
    pub(super) fn field(name: &str, value: &str, expected: &str) -> Self {
        Self::new(format!("{name} {}", quote(value)), expected)
    }

    pub(super) fn at(self, file: &str, line: u64) -> TraceError {
        let Self { found, expected } = self;
        TraceError::Malformed { file: file.to_owned(), line, found, expected }
    }
}
