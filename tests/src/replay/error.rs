//! Why a replay could not be done at all. What goes wrong *in* a replay is in its summary.

use std::fmt;

use crate::trace::Trace;

/// A well-formed trace cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// It needs a larger machine than the testbed simulates.
    TooLarge {
        /// The file.
        file: String,
        /// The line from which on it is too large.
        line: u64,
        /// What it needs.
        found: String,
        /// What there can be.
        expected: String,
    },
    /// The guest driver did not find a service it can use.
    NoService {
        /// What the service answered.
        answer: String,
    },
    /// An option is for the other level.
    OtherLevel {
        /// What the option is for.
        what: &'static str,
        /// The level.
        found: &'static str,
        /// The level that has it.
        expected: &'static str,
    },
    /// The machine is to be broken where these options never go.
    Unnoticeable {
        /// What is to be broken.
        what: &'static str,
        /// What would notice it.
        expected: &'static str,
    },
}

impl ReplayError {
    pub(super) fn too_large(trace: &Trace, line: u64, found: String, expected: String) -> Self {
        Self::TooLarge { file: trace.file.clone(), line, found, expected }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { file, line, found, expected } => {
                write!(f, "{file}:{line}: found {found}, expected {expected}")
            }
            Self::NoService { answer } => {
                write!(f, "the service does not come up: {answer}; expected contexts to allocate")
            }
            Self::OtherLevel { what, found, expected } => {
                write!(f, "{what} at level {found}; expected level {expected}")
            }
            Self::Unnoticeable { what, expected } => {
                write!(f, "{what} cannot be noticed here; expected {expected}")
            }
        }
    }
}

impl std::error::Error for ReplayError {}
