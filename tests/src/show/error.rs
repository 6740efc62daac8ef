//! Why there is no picture.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::replay::ReplayError;

/// There is no picture.
#[derive(Debug)]
pub enum ShowError {
    /// The trace has fewer operations than asked for.
    PastTheEnd {
        /// The file.
        file: String,
        /// The operation asked for.
        at: u64,
        /// The operations it has.
        of: u64,
    },
    /// The trace cannot be replayed.
    Replay(ReplayError),
    /// The drawing cannot be written.
    Unwritable {
        /// Where to.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for ShowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PastTheEnd { file, at, of } => {
                write!(f, "{file}: found {of} operations (M and U lines), expected at least {at}")
            }
            Self::Replay(error) => error.fmt(f),
            Self::Unwritable { path, error } => {
                write!(f, "{}: cannot be written: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ShowError {}

impl From<ReplayError> for ShowError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}
