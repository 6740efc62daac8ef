//! The header that all ACPI tables have (ACPI 6.5, section 5.2.6).

use super::{AcpiError, Problem, bytes::Bytes};

/// Most bytes of a table: many times what the largest machines have. It bounds the time for comparing
/// everything with everything.
pub const MAX_TABLE: usize = 1 << 16;

/// Bytes of the header.
const HEADER: u32 = 36;

const LENGTH: usize = 4;
const REVISION: usize = 8;
const CHECKSUM: usize = 9;

/// The length in bytes of the table that starts with `start`, of which eight bytes are looked at: what
/// is to be mapped, to parse it.
///
/// # Errors
/// There are less than eight bytes, or [`Problem::TableLength`].
pub fn table_length(start: &[u8]) -> Result<usize, AcpiError> {
    let start = Bytes::new(start);
    let length = start.u32(LENGTH)?;
    usize::try_from(length)
        .ok()
        .filter(|bytes| length >= HEADER && *bytes <= MAX_TABLE)
        .ok_or_else(|| start.error(LENGTH, Problem::TableLength(length)))
}

/// The table with this signature at the begin of `bytes`, without what may come after it. Each
/// revision has what the one before it had, and may add to that.
pub(super) fn open<'a>(bytes: &'a [u8], signature: &[u8; 4]) -> Result<Bytes<'a>, AcpiError> {
    let start = Bytes::new(bytes);
    let found = start.array(0)?;
    if found != *signature {
        return Err(start.error(0, Problem::Signature(found)));
    }
    let table = start.first(table_length(bytes)?)?;
    let sum = table.as_slice().iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 {
        return Err(table.error(CHECKSUM, Problem::Checksum(sum)));
    }
    match table.u8(REVISION)? {
        0 => Err(table.error(REVISION, Problem::Revision(0))),
        _ => Ok(table),
    }
}
