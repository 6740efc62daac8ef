//! The blocks of an IVRS table.

use super::{
    super::{AcpiError, Problem, bytes::Bytes},
    Ivhd, IvhdType, Ivmd,
};

/// A block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block<'a> {
    /// A unit.
    Ivhd(Ivhd<'a>),
    /// Memory that devices use.
    Ivmd(Ivmd),
    /// Anything else.
    Other {
        /// Its type.
        kind: u8,
        /// Its bytes, type and length among them.
        bytes: &'a [u8],
    },
}

/// Type, flags and length, which all blocks begin with.
const HEAD: usize = 4;
const LENGTH: usize = 2;
/// Types of memory definitions.
const IVMD: core::ops::RangeInclusive<u8> = 0x20..=0x22;

impl<'a> Block<'a> {
    /// The block at the begin of `bytes`, and its length.
    fn read(bytes: Bytes<'a>) -> Result<(Self, usize), AcpiError> {
        let (kind, length) = (bytes.u8(0)?, bytes.u16(LENGTH)?);
        let definition = IvhdType::new(kind);
        let fixed = match definition {
            Some(definition) => definition.head(),
            None if IVMD.contains(&kind) => Ivmd::LENGTH,
            None => HEAD,
        };
        let size = usize::from(length);
        if size < fixed || size > bytes.len() {
            return Err(bytes.error(LENGTH, Problem::StructureLength(kind.into(), length)));
        }
        let it = bytes.first(size)?;
        let block = match definition {
            Some(definition) => Self::Ivhd(Ivhd::read(it, definition)?),
            None if IVMD.contains(&kind) => Self::Ivmd(Ivmd::read(it)?),
            None => Self::Other { kind, bytes: it.as_slice() },
        };
        Ok((block, size))
    }
}

/// The blocks of a table. Ends behind the first error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks<'a>(Bytes<'a>);

impl<'a> Blocks<'a> {
    pub(super) const fn new(bytes: Bytes<'a>) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, AcpiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = Block::read(self.0);
        let length = read.map_or(self.0.len(), |(_, length)| length);
        self.0 = self.0.after(length);
        Some(read.map(|(block, _)| block))
    }
}
