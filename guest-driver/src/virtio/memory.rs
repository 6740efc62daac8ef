//! Memory by its virtual address, and the guest frames behind it.

#![forbid(unsafe_code)]

use pviommu_abi::{Gfn, PAGE_SIZE};

use crate::dma::{Buffer, Piece};

/// Bytes that follow each other in the kernel's virtual memory.
#[derive(Clone, Copy, Debug)]
pub struct VirtualMemory {
    address: usize,
    length: usize,
    frame_of: fn(usize) -> Option<Gfn>,
}

impl VirtualMemory {
    pub(super) const fn new(
        address: usize,
        length: usize,
        frame_of: fn(usize) -> Option<Gfn>,
    ) -> Self {
        Self { address, length, frame_of }
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// The bytes from this one on that lie in its page; one that cannot be if no frame is behind it.
    fn piece(&self, from: usize) -> Option<Piece> {
        const NO_FRAME: Piece = Piece { address: u64::MAX, length: 2 };
        let start = self.address.checked_add(from)?;
        let offset = u64::try_from(start).ok()? % PAGE_SIZE;
        let left = u64::try_from(self.length.checked_sub(from)?).ok()?;
        let length = left.min(PAGE_SIZE.saturating_sub(offset));
        let frame = (self.frame_of)(start).and_then(Gfn::address);
        let address = frame.and_then(|frame| frame.checked_add(offset));
        (left > 0).then(|| address.map_or(NO_FRAME, |address| Piece { address, length }))
    }
}

impl Buffer for VirtualMemory {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        let memory = *self;
        let mut from = Some(0);
        core::iter::from_fn(move || {
            let piece = memory.piece(from?)?;
            from = usize::try_from(piece.length).ok().and_then(|length| from?.checked_add(length));
            Some(piece)
        })
    }
}
