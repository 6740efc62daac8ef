//! Operations and lies as lines of text.

use std::fmt;

use super::{
    input::{Lie, Operation},
    liar::{KINDS, value_of},
};

/// What each operation is.
const NAMES: [&str; 16] = [
    "map strictly",
    "map deferred",
    "map, and keep",
    "unmap",
    "take what waits or is kept",
    "drop a mapping",
    "drop what waits or is kept",
    "poll",
    "flush",
    "map coherently",
    "map grants",
    "map foreign pages",
    "go to CPU",
    "call",
    "make a pool",
    "reserve",
];

/// An operation to print, with its lies.
pub(super) struct Shown<'o>(pub(super) &'o Operation);

/// A lie to print.
pub(super) struct ShownLie<'l>(pub(super) &'l Lie);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { what, which, number, lies } = self.0;
        write!(f, "{}: {which}, {number:#x}", NAMES[usize::from(what % 16)])?;
        lies.iter().try_for_each(|lie| write!(f, "\n    {}", ShownLie(lie)))
    }
}

impl fmt::Display for ShownLie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lie { skip, kind, place, value } = self.0;
        let what = KINDS[usize::from(*kind) % KINDS.len()];
        let (number, errno) = value_of(*value);
        write!(
            f,
            "lie after {skip} calls: {what}; errno {errno}, word {place}, {number:#x}, {value:#x}"
        )
    }
}
