//! Buffers that notice when they go too early.

use std::{ops::Range, rc::Weak, thread};

use pviommu_guest::dma::{Buffer, Piece};

use super::liar::{Liar, State};

/// Guest frames of a buffer; not all are used.
const FRAMES: u64 = 1024;

/// Buffers that a driver has.
pub(super) const BUFFERS: u8 = 24;

/// The frames of a buffer, in the order of the bus.
pub(super) fn frames(buffer: u8) -> Vec<u64> {
    let first = range(buffer).start;
    let each: Box<dyn Iterator<Item = u64>> = match buffer % 6 {
        0 => Box::new(0..1),
        1 => Box::new(0..3),
        2 => Box::new((0..3).rev()),
        3 => Box::new((0..20).map(|page| page * 3)),
        4 => Box::new(0..130),
        _ => Box::new((0..530).map(|page| page + page / 2 % 2)),
    };
    each.map(|frame| first + frame).collect()
}

/// The frames that are a buffer's own.
pub(super) fn range(buffer: u8) -> Range<u64> {
    let first = 0x10_0000 + u64::from(buffer) * FRAMES;
    first..first + FRAMES
}

/// Pages, or references of grants, that must not go while a device may reach them.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) pages: Range<u64>,
    list: Vec<u64>,
    liar: Weak<State>,
}

impl Memory {
    pub(super) fn buffer(liar: &Liar, buffer: u8) -> Self {
        Self { pages: range(buffer), list: frames(buffer), liar: liar.downgrade() }
    }

    pub(super) fn grants(liar: &Liar, first: u64, count: u64) -> Self {
        let pages = first..first + count;
        Self { pages: pages.clone(), list: pages.collect(), liar: liar.downgrade() }
    }

    /// It came back as safe, or goes.
    fn check(&self) {
        let Some(liar) = Liar::upgrade(&self.liar) else { return };
        let reached = liar.with_witness(|witness| witness.is_reached(&self.pages));
        assert!(!reached, "a device may reach {:x?}, which came back (INV-20)", self.pages);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.check();
        }
    }
}

impl Buffer for Memory {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        self.list.iter().map(|frame| Piece { address: frame << 12, length: 0x1000 })
    }
}

impl AsRef<[u64]> for Memory {
    fn as_ref(&self) -> &[u64] {
        &self.list
    }
}
