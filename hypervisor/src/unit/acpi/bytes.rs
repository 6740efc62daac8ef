//! Reading of bytes that know where in the table they are.

use super::{AcpiError, Problem};

/// A part of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bytes<'a> {
    bytes: &'a [u8],
    /// Where in the table the first byte is.
    pub(super) offset: usize,
}

impl<'a> Bytes<'a> {
    /// The whole table.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) const fn as_slice(&self) -> &'a [u8] {
        self.bytes
    }

    /// What is wrong with the byte at `at`.
    pub(super) fn error(&self, at: usize, problem: Problem) -> AcpiError {
        AcpiError::new(self.offset.saturating_add(at), problem)
    }

    /// The first `count` bytes.
    pub(super) fn first(&self, count: usize) -> Result<Self, AcpiError> {
        let bytes = self.bytes.get(..count);
        let bytes = bytes.ok_or_else(|| self.error(0, Problem::Truncated(count)))?;
        Ok(Self { bytes, ..*self })
    }

    /// The bytes after the first `count`; none if there are not more.
    pub(super) fn after(&self, count: usize) -> Self {
        let count = count.min(self.len());
        let bytes = self.bytes.get(count..).unwrap_or_default();
        Self { bytes, offset: self.offset.saturating_add(count) }
    }

    /// The `N` bytes from `at` on.
    pub(super) fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], AcpiError> {
        let found = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
        found.copied().ok_or_else(|| self.error(0, Problem::Truncated(at.saturating_add(N))))
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8, AcpiError> {
        self.array(at).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&self, at: usize) -> Result<u16, AcpiError> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, AcpiError> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Result<u64, AcpiError> {
        self.array(at).map(u64::from_le_bytes)
    }
}
