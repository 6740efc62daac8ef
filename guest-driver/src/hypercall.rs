//! The one trait between this crate and a hypervisor, and what has to hold before a call is made.
//!
//! A hypervisor takes addresses and writes behind them. Safe code must therefore not be able to
//! hand it an address of its own making: an argument travels as a slice, and so does the one buffer
//! that some arguments point to. A transport fills in the addresses itself, after [`check`].

#![forbid(unsafe_code)]

use pviommu_abi::{Batch, Errno, QueryReserved, ReadFaults, RemoteCmd, Subop, argument};
use zerocopy::FromBytes;

/// A way to reach the hypervisor.
///
/// Implemented by the instructions in `transport`, by a testbed that copies the bytes into
/// simulated memory, and by any `Fn(Subop, &mut [u8], Option<&mut [u8]>) -> i64`.
pub trait Hypercall {
    /// Issues `iommu_op(subop, arg)` and returns what the hypervisor answered: 0 or a negative
    /// error code, though a caller must expect anything.
    ///
    /// `arg` holds the bytes of the subop's structure, in and out. `buffer` is what the structure's
    /// pointer field points to, for a subop whose structure has one
    /// (`ArgumentInfo::pointer_offset`).
    ///
    /// The implementer promises that
    ///
    /// * the hypervisor sees the bytes of `arg`, with the address of `buffer` in the pointer field,
    ///   whatever stood there before;
    /// * when the call returns, `arg` and `buffer` hold what the hypervisor left in them, and it
    ///   will not touch them again;
    /// * a preempted call is continued until it ends.
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64;
}

impl<F> Hypercall for F
where
    F: Fn(Subop, &mut [u8], Option<&mut [u8]>) -> i64,
{
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        self(subop, arg, buffer)
    }
}

/// Checks that a hypervisor which follows the ABI stays within `arg` and `buffer`.
///
/// A transport that passes real addresses calls this last thing before the instruction.
///
/// # Errors
///
/// * `EOPNOTSUPP`: the subop is unknown, so nobody can say how much it writes; or it is a remote
///   command whose inner argument holds a pointer of its own.
/// * `EINVAL`: `arg` is not exactly the subop's structure, or a buffer is missing, too short, or
///   there without a field that points to it.
pub fn check(subop: Subop, arg: &[u8], buffer: Option<&[u8]>) -> Result<(), Errno> {
    if subop == Subop::NOOP {
        return if buffer.is_none() { Ok(()) } else { Err(Errno::EINVAL) };
    }
    let info = argument::info(subop).ok_or(Errno::EOPNOTSUPP)?;
    if arg.len() != info.size {
        return Err(Errno::EINVAL);
    }
    if subop.is_extension() && !says_its_size(arg) {
        return Err(Errno::EINVAL);
    }
    match (info.pointer_offset, buffer) {
        (None, None) => Ok(()),
        (Some(_), Some(buffer)) if buffer.len() >= buffer_size(subop, arg)? => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether the `size` field of an extension's argument is at most the bytes that are there: the
/// hypervisor writes back as many as it says.
fn says_its_size(arg: &[u8]) -> bool {
    u32::read_from_prefix(arg)
        .ok()
        .and_then(|(size, _)| usize::try_from(size).ok())
        .is_some_and(|size| size <= arg.len())
}

/// How many bytes behind its pointer a call may touch, by what its argument says.
fn buffer_size(subop: Subop, arg: &[u8]) -> Result<usize, Errno> {
    match subop {
        Subop::REMOTE_CMD => {
            let inner = Subop(u32::from(read::<RemoteCmd>(arg)?.subop));
            if inner == Subop::NOOP {
                return Ok(0);
            }
            let info = argument::info(inner).ok_or(Errno::EOPNOTSUPP)?;
            // An extension names its domain itself, and another pointer would be unchecked.
            if inner.is_extension() || info.pointer_offset.is_some() {
                return Err(Errno::EOPNOTSUPP);
            }
            Ok(info.size)
        }
        Subop::BATCH => {
            let call = read::<Batch>(arg)?;
            array_size(call.nr_ops, call.elem_size)
        }
        Subop::QUERY_RESERVED => {
            let call = read::<QueryReserved>(arg)?;
            array_size(call.nr_entries, call.elem_size)
        }
        Subop::READ_FAULTS => {
            let call = read::<ReadFaults>(arg)?;
            array_size(call.nr_records, call.elem_size)
        }
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn read<T: FromBytes>(arg: &[u8]) -> Result<T, Errno> {
    T::read_from_bytes(arg).map_err(|_| Errno::EINVAL)
}

fn array_size(count: u32, element: u32) -> Result<usize, Errno> {
    let bytes = u64::from(count).checked_mul(u64::from(element)).ok_or(Errno::EINVAL)?;
    usize::try_from(bytes).map_err(|_| Errno::EINVAL)
}

/// Writes `address` into the pointer field of the argument of `subop`.
///
/// # Errors
///
/// `EINVAL` if the argument has no such field.
pub fn set_pointer(subop: Subop, arg: &mut [u8], address: u64) -> Result<(), Errno> {
    argument::info(subop)
        .and_then(|info| info.pointer_offset)
        .and_then(|offset| arg.get_mut(offset..))
        .and_then(|tail| tail.get_mut(..size_of::<u64>()))
        .map(|field| field.copy_from_slice(&address.to_le_bytes()))
        .ok_or(Errno::EINVAL)
}
