//! Operations as lines of text, arguments taken apart.

use std::fmt;

use pviommu_abi::{
    AllocContext, AllocContextExt, Batch, FlushPages, FreeContext, Init, Lookup, MapPages,
    QueryLimits, ReattachDevice, RemoteCmd, Subop, UnmapPages,
};
use zerocopy::FromBytes;

use super::{
    batch,
    input::{Call, Operation},
};

/// An operation to print.
pub(super) struct Shown<'o>(pub(super) &'o Operation);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Operation::Call(call) => show_call(call, f),
            Operation::Batch(asked) => {
                let (caller, context, flags) = (asked.caller, asked.context, asked.flags);
                write!(f, "batch by {caller:#x} on context {context}, flags {flags:#x}")?;
                asked.elements.iter().try_for_each(|e| write!(f, "\n    {:?}", batch::element(e)))
            }
            Operation::Dma { device, write, address, bytes } => {
                let what = if *write { "write" } else { "read" };
                write!(f, "dma {what} by device {device} at {address:#x}, {bytes} bytes")
            }
            Operation::Prefetch { device, address } => {
                write!(f, "prefetch for device {device} at {address:#x}")
            }
            Operation::Store { domain, address, bytes } => {
                write!(f, "store in domain {domain} at {address:#x}: {bytes:02x?}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

fn show_call(call: &Call, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let subop = Subop(call.subop);
    let cpu = call.caller >> 1 & 3;
    write!(f, "call by domain {} on CPU {cpu}: {subop:?} at {:?}", call.caller & 1, call.place)?;
    if call.caller & 8 != 0 {
        f.write_str(", 32 bits")?;
    }
    if call.caller & 16 != 0 {
        return f.write_str(", argument as it is");
    }
    let bytes = &call.argument;
    match subop {
        Subop::INIT => show::<Init>(bytes, f),
        Subop::ALLOC_CONTEXT => show::<AllocContext>(bytes, f),
        Subop::FREE_CONTEXT => show::<FreeContext>(bytes, f),
        Subop::REATTACH_DEVICE => show::<ReattachDevice>(bytes, f),
        Subop::MAP_PAGES => show::<MapPages>(bytes, f),
        Subop::UNMAP_PAGES => show::<UnmapPages>(bytes, f),
        Subop::FLUSH_PAGES => show::<FlushPages>(bytes, f),
        Subop::BATCH => show::<Batch>(bytes, f),
        Subop::LOOKUP => show::<Lookup>(bytes, f),
        Subop::QUERY_LIMITS => show::<QueryLimits>(bytes, f),
        Subop::ALLOC_CONTEXT_EXT => show::<AllocContextExt>(bytes, f),
        Subop::REMOTE_CMD => show::<RemoteCmd>(bytes, f),
        _ => write!(f, ", {bytes:02x?}"),
    }
}

fn show<T: FromBytes + fmt::Debug>(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match T::read_from_prefix(bytes) {
        Ok((argument, _)) => write!(f, ", {argument:?}"),
        Err(_) => write!(f, ", {bytes:02x?}"),
    }
}
