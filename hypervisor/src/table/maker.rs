//! For whom mappings are made: what their entries record, and what they replace.

use core::marker::PhantomData;

use super::leaves;
use crate::{
    addr::Mfn,
    format::{Format, Leaf, LeafAttributes, LeafSoft, Origin},
    platform::{PageKind, Run},
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
pub(super) fn leaf_of(frame: Mfn, run: &Run, maker: Maker) -> Leaf {
    let soft = LeafSoft::new(maker.origin());
    let soft = match run.kind {
        PageKind::Ram if maker.holds_pages() => soft.with_reference(),
        PageKind::Ram => soft,
        PageKind::Foreign(_) => soft.with_reference().with_foreign(),
        PageKind::Mmio => soft.with_mmio(),
    };
    Leaf { frame, access: run.access, soft }
}

/// Words of small leaves. That of a run which is like the one before is made from it.
pub(super) struct LeafWords<F> {
    maker: Maker,
    attributes: LeafAttributes,
    before: Option<(Run, u64)>,
    format: PhantomData<F>,
}

impl<F: Format> LeafWords<F> {
    #[inline]
    pub(super) fn new(maker: Maker, attributes: LeafAttributes) -> Self {
        Self { maker, attributes, before: None, format: PhantomData }
    }

    /// The leaf for the first page of `run`.
    #[inline]
    pub(super) fn of(&mut self, run: &Run) -> u64 {
        let first = run.frames.first();
        if let Some((before, raw)) = &self.before
            && before.is_like(run)
        {
            return leaves::leaf_after::<F>(*raw, first.0.wrapping_sub(before.frames.first().0));
        }
        let raw = F::leaf(leaf_of(first, run, self.maker), 0, self.attributes);
        self.before = Some((*run, raw));
        raw
    }
}
