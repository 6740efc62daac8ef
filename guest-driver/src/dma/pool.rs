//! Blocks of memory that stay mapped.

use core::fmt;

use spin::Mutex;

use super::buffer::{Buffer, Segment};
use super::error::{DmaError, StillMapped};
use super::kernel::Kernel;
use super::mapping::Mapping;
use super::mode::Strict;

/// Blocks of a word.
const BITS: u64 = 64;

/// A mapped buffer in blocks of one size, for what is used so often that it had better stay mapped:
/// descriptors, small packets. Room for 64 × `WORDS` blocks.
///
/// The device reaches all of it all the time, free blocks too.
pub struct Pool<'d, K: Kernel, B, const WORDS: usize> {
    mapping: Mapping<'d, K, B, Strict>,
    block: u64,
    blocks: u64,
    /// A bit for each block, set while it is free.
    free: Mutex<[u64; WORDS]>,
}

/// A block of a [`Pool`], for as long as it is not dropped.
#[derive(Debug)]
#[must_use = "dropping it gives it back"]
pub struct Block<'p, const WORDS: usize> {
    offset: u64,
    place: Segment,
    word: usize,
    bit: u64,
    free: &'p Mutex<[u64; WORDS]>,
}

impl<'d, K: Kernel, B: Buffer, const WORDS: usize> Pool<'d, K, B, WORDS> {
    /// Blocks of `block` bytes of a buffer that is mapped as one segment: pieces that begin and end
    /// at page boundaries. What does not make a block is left over, and so is what there is no room
    /// for.
    ///
    /// # Errors
    ///
    /// [`DmaError::Buffer`], with the mapping: it has more than one segment, or no room for a block.
    pub fn new(
        mapping: Mapping<'d, K, B, Strict>,
        block: u64,
    ) -> Result<Self, StillMapped<Mapping<'d, K, B, Strict>>> {
        let mut segments = mapping.segments();
        let whole = segments.next().filter(|_| segments.next().is_none());
        drop(segments);
        let blocks = whole.and_then(|whole| whole.length.checked_div(block)).unwrap_or(0);
        if blocks == 0 {
            return Err(StillMapped { cause: DmaError::Buffer, mapping });
        }
        let mut free = [0; WORDS];
        let mut left = blocks;
        for word in &mut free {
            *word = match left {
                0 => 0,
                BITS.. => u64::MAX,
                some => {
                    u64::MAX.checked_shr((BITS as u32).saturating_sub(some as u32)).unwrap_or(0)
                }
            };
            left = left.saturating_sub(BITS);
        }
        Ok(Self { mapping, block, blocks: blocks.saturating_sub(left), free: Mutex::new(free) })
    }
}

impl<'d, K: Kernel, B, const WORDS: usize> Pool<'d, K, B, WORDS> {
    /// A free block; `None` if all are taken.
    pub fn take(&self) -> Option<Block<'_, WORDS>> {
        let mut free = self.free.lock();
        let (word, bits) = (0..).zip(free.iter_mut()).find(|(_, bits)| **bits != 0)?;
        let number = bits.trailing_zeros();
        let bit = 1_u64.checked_shl(number)?;
        let index = u64::try_from(word).ok()?.checked_mul(BITS)?.checked_add(number.into())?;
        let offset = index.checked_mul(self.block)?;
        let address = self.mapping.address().checked_add(offset)?;
        *bits &= !bit;
        let place = Segment { address, length: self.block };
        Some(Block { offset, place, word, bit, free: &self.free })
    }

    /// How many blocks there are, free and taken.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The memory of all blocks.
    pub fn buffer(&self) -> &B {
        self.mapping.buffer()
    }

    /// Unmaps the memory. Blocks borrow the pool, so none is taken.
    ///
    /// # Errors
    ///
    /// As for [`Mapping::unmap`].
    pub fn unmap(self) -> Result<B, StillMapped<Mapping<'d, K, B, Strict>>> {
        self.mapping.unmap()
    }
}

impl<const WORDS: usize> Block<'_, WORDS> {
    /// Where it is on the bus.
    pub const fn place(&self) -> Segment {
        self.place
    }

    /// Where it begins in the pool's buffer, in bytes.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

impl<const WORDS: usize> Drop for Block<'_, WORDS> {
    fn drop(&mut self) {
        if let Some(word) = self.free.lock().get_mut(self.word) {
            *word |= self.bit;
        }
    }
}

impl<K: Kernel, B, const WORDS: usize> fmt::Debug for Pool<'_, K, B, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mapping, block, blocks, .. } = self;
        let mut pool = f.debug_struct("Pool");
        pool.field("mapping", mapping).field("block", block).field("blocks", blocks);
        pool.finish_non_exhaustive()
    }
}
