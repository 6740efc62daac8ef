//! For whom mappings are made: what their entries record, and what they replace.

use core::marker::PhantomData;

use super::{SplitPaid, leaves};
use crate::{
    addr::{Mfn, MfnRange},
    format::{Format, Leaf, LeafAttributes, LeafSoft, Origin},
    platform::{Access, PageKind, Run},
};

/// Who has a mapping made: what its entry records, and what it may replace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// The guest. What it finds of the map it started with is replaced.
    Guest,
    /// The embedder, for a guest map: pages are held.
    GuestMap,
    /// The embedder, for a host map: nothing is held.
    HostMap,
    /// The embedder, for a map that it maintains, and replaces as the P2M changes: nothing is held.
    P2m,
}

impl Maker {
    pub(super) fn origin(self) -> Origin {
        match self {
            Self::Guest => Origin::Guest,
            Self::GuestMap | Self::HostMap => Origin::Initial,
            Self::P2m => Origin::Maintained,
        }
    }

    /// True if what it maps is held until the mapping has gone.
    #[must_use]
    pub fn holds_pages(self) -> bool {
        matches!(self, Self::Guest | Self::GuestMap)
    }

    /// True if a mapping of `there` gives way.
    pub(super) fn replaces(self, there: Origin) -> bool {
        let replaced = match self {
            Self::Guest => Origin::Initial,
            Self::P2m => Origin::Maintained,
            Self::GuestMap | Self::HostMap => return false,
        };
        there == replaced
    }
}

/// The leaf for the page `frame` of `run`.
fn leaf_of(frame: Mfn, run: &Run, maker: Maker) -> Leaf {
    let soft = LeafSoft::new(maker.origin());
    let soft = match run.kind {
        PageKind::Ram if maker.holds_pages() => soft.with_reference(),
        PageKind::Ram => soft,
        PageKind::Foreign(_) => soft.with_reference().with_foreign(),
        PageKind::Mmio => soft.with_mmio(),
    };
    Leaf { frame, access: run.access, soft }
}

/// Words of leaves of one size that are alike but for their frames: each is made from that of frame 0.
#[derive(Debug)]
pub struct LeafWords<F> {
    of_frame_0: u64,
    /// They are no pages of another domain, which take more than a word.
    pub(super) own: bool,
    format: PhantomData<F>,
}

impl<F: Format> LeafWords<F> {
    /// Of small ones.
    #[inline]
    pub(super) fn new(
        kind: PageKind,
        access: Access,
        maker: Maker,
        attributes: LeafAttributes,
    ) -> Self {
        Self::large((kind, access), (maker, SplitPaid::No), attributes, 0)
    }

    /// Of leaves of `level`, whose splits are paid for or not.
    #[inline]
    pub(super) fn large(
        (kind, access): (PageKind, Access),
        (maker, split): (Maker, SplitPaid),
        attributes: LeafAttributes,
        level: u8,
    ) -> Self {
        let first = Run { frames: MfnRange::single(Mfn(0)), kind, access };
        let mut leaf = leaf_of(Mfn(0), &first, maker);
        leaf.soft = leaf.soft.with_split_paid(split == SplitPaid::Yes);
        let of_frame_0 = F::leaf(leaf, level, attributes);
        Self { of_frame_0, own: kind.is_own(), format: PhantomData }
    }

    /// The leaf for `frame`, one that units put out.
    #[inline]
    pub(super) fn of(&self, frame: Mfn) -> u64 {
        leaves::leaf_after::<F>(self.of_frame_0, frame.0)
    }
}
