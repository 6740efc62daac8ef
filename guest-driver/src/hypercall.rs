//! The one trait between this crate and a hypervisor, and what has to hold before a call is made.
//!
//! A hypervisor takes addresses and writes behind them. Safe code must therefore not be able to
//! hand it an address of its own making: an argument travels as a slice, and so does the one buffer
//! that some arguments point to. A transport fills in the addresses itself, with [`set_pointers`],
//! after a [`check`].

#![forbid(unsafe_code)]

use pviommu_abi::{
    Batch, BatchElement, BatchOp, Errno, QueryReserved, ReadFaults, RemoteCmd, Subop, argument,
};
use zerocopy::{FromBytes, IntoBytes};

const ELEMENT: usize = size_of::<BatchElement>();
/// Bytes of an entry of a list, and the alignment of lists.
const LIST_ENTRY: u32 = 8;

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
    /// The buffer of a [`Batch`] begins with its elements and may go on behind them. `page` of an
    /// element with [`BatchOp::MAP_LIST`] is the offset of its list from the start of the buffer, a
    /// multiple of 8, and the list lies behind the elements and within the buffer.
    ///
    /// The implementer promises that
    ///
    /// * the hypervisor sees the bytes of `arg`, with the address of `buffer` in the pointer field,
    ///   whatever stood there before, and those of `buffer`, with the address of its list in each
    ///   `MAP_LIST` element ([`set_pointers`]; the caller cannot rely on the offsets after the
    ///   call);
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
/// A transport that passes real addresses calls this before it sets the pointers, and lets nobody
/// touch the bytes between this and the instruction.
///
/// # Errors
///
/// * `EOPNOTSUPP`: the subop is unknown, so nobody can say how much it writes; or it is a remote
///   command whose inner argument holds a pointer of its own.
/// * `EINVAL`: `arg` is not exactly the subop's structure; or a buffer is missing, too short, or
///   there without a field that points to it; or a batch has elements of another size, or a list
///   that is not where [`Hypercall::iommu_op`] says.
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
        (Some(_), Some(buffer)) => {
            let size = buffer_size(subop, arg)?;
            let array = buffer.get(..size).ok_or(Errno::EINVAL)?;
            if subop == Subop::BATCH { check_lists(array, buffer.len()) } else { Ok(()) }
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Checks the lists of a batch with these elements, in a buffer of `size` bytes.
fn check_lists(elements: &[u8], size: usize) -> Result<(), Errno> {
    let (chunks, _) = elements.as_chunks::<ELEMENT>();
    for chunk in chunks {
        let element: BatchElement = zerocopy::transmute!(*chunk);
        if element.op != BatchOp::MAP_LIST {
            continue;
        }
        let start = usize::try_from(element.page).map_err(|_| Errno::EINVAL)?;
        let bytes = array_size(element.nr, LIST_ENTRY)?;
        let end = start.checked_add(bytes).ok_or(Errno::EINVAL)?;
        let aligned = element.page.is_multiple_of(u64::from(LIST_ENTRY));
        if !aligned || start < elements.len() || end > size {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
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
            // With another size nobody could tell which bytes are pointers.
            if call.elem_size != Batch::ELEM_SIZE {
                return Err(Errno::EINVAL);
            }
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

/// Checks a call with a buffer that the hypervisor finds at `address`, and sets the pointers into
/// it: the pointer field of `arg`, and `page` of each `MAP_LIST` element of a batch.
///
/// # Errors
///
/// Those of [`check`], and `EINVAL` if the buffer would wrap around the end of the address space.
/// Nothing is changed then.
pub fn set_pointers(
    subop: Subop,
    arg: &mut [u8],
    buffer: &mut [u8],
    address: u64,
) -> Result<(), Errno> {
    check(subop, arg, Some(buffer))?;
    let length = u64::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?;
    address.checked_add(length).ok_or(Errno::EINVAL)?;
    if subop == Subop::BATCH {
        let elements = buffer.get_mut(..buffer_size(subop, arg)?).ok_or(Errno::EINVAL)?;
        let (chunks, _) = elements.as_chunks_mut::<ELEMENT>();
        for chunk in chunks {
            let mut element: BatchElement = zerocopy::transmute!(*chunk);
            if element.op == BatchOp::MAP_LIST {
                // Within the buffer, as checked, so it does not wrap.
                element.page = element.page.wrapping_add(address);
                chunk.copy_from_slice(element.as_bytes());
            }
        }
    }
    set_pointer(subop, arg, address)
}

/// Writes `address` into the pointer field of the argument of `subop`, and changes no buffer.
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
