//! Operations and changes as lines of text.

use std::fmt;

use pviommu_abi::BatchElement;

use super::{
    changes::Meant,
    input::{Call, Operation},
    layout::{self, CALLS},
};
use crate::{fuzzing::batch, machine::Rewrite};

/// An operation to print.
pub(super) struct Shown<'o>(pub(super) &'o Operation);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Operation::Call(call) => show_call(call, f),
            Operation::Fail { .. } => write!(f, "{:?}", self.0),
            Operation::Dma { device, bfn } => {
                let what = if device & 4 == 0 { "read" } else { "write" };
                let bfn = batch::bus_frame(*bfn);
                write!(f, "dma {what} by device {} at bus frame {bfn:#x}", device & 3)
            }
        }
    }
}

fn show_call(call: &Call, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Call { caller, context, flags, elements, .. } = call;
    let subop = CALLS[usize::from(call.what) % CALLS.len()];
    let remote = if caller & 4 == 0 { "" } else { ", for the other" };
    write!(f, "{subop:?} by domain {}{remote} on context {context}, flags {flags:#x}", caller & 1)?;
    elements.iter().try_for_each(|asked| {
        let BatchElement { op, flags, bfn, page, nr, .. } = layout::element(asked);
        write!(f, "\n    {op:?} {flags:?} {bfn:x?} {page:#x} {nr}")
    })
}

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.rewrite.adds { "grows by" } else { "becomes" };
        let Self { what: field, rewrite } = self;
        let Rewrite { after, address, bytes, .. } = rewrite;
        write!(f, "after copy {after}, {field} at {address:#x} {what} {bytes:02x?}")
    }
}
