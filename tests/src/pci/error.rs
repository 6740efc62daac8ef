//! What can be wrong with a capture, and where.

use std::fmt;
use std::io;

use super::capture::Name;

/// A capture could not be read, or is not what it should be.
#[derive(Debug)]
pub enum PciError {
    /// A file could not be opened, read or decompressed.
    Unreadable {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A file is not what its form asks for.
    Malformed {
        /// Its name.
        file: String,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        fault: Fault,
    },
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// All of it.
    Whole,
    /// A line, from 1 on.
    Line(u64),
    /// A line and a column, both from 1 on.
    Column(u64, u64),
    /// A topology, by its name.
    Topology(String),
    /// A function of a topology.
    Function(String, Name),
}

/// What is wrong, before it is known in which file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(String);

impl Fault {
    /// One thing stands where another is expected.
    pub fn new(found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self(format!("found {found}, expected {expected}"))
    }

    /// In the words of a parser that says what it expects.
    pub(super) const fn said(words: String) -> Self {
        Self(words)
    }

    /// The error that it is at `place` of `file`.
    #[must_use]
    pub fn at(self, file: &str, place: Place) -> PciError {
        PciError::Malformed { file: file.to_owned(), place, fault: self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Line(line) => write!(f, ":{line}"),
            Self::Column(line, column) => write!(f, ":{line}:{column}"),
            Self::Topology(name) => write!(f, ": topology {}", crate::source::quote(name)),
            Self::Function(topology, name) => {
                write!(f, ": topology {}, function {name}", crate::source::quote(topology))
            }
        }
    }
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "{file}: cannot be read: {error}"),
            Self::Malformed { file, place, fault } => write!(f, "{file}{place}: {fault}"),
        }
    }
}

impl std::error::Error for PciError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            Self::Malformed { .. } => None,
        }
    }
}
