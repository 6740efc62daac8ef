//! What a bus frame is mapped to.

use pviommu_abi::{Bfn, Errno, Gfn};

use super::{Context, End, Session};
use crate::{
    addr::Mfn,
    format::{Format, Origin},
    platform::{Access, Platform},
    table::Translation,
};

/// What a guest may know of a mapping, and what only some may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mapping {
    /// The frame behind the bus frame.
    pub(crate) frame: Mfn,
    /// The guest frame, if the embedder keeps a reverse map.
    pub(crate) gfn: Option<Gfn>,
    pub(crate) access: Access,
    pub(crate) origin: Origin,
    pub(crate) mmio: bool,
    pub(crate) foreign: bool,
    /// log2 of the pages the entry covers.
    pub(crate) order: u32,
}

impl<P: Platform> Session<'_, P> {
    /// What `bfn` is mapped to.
    ///
    /// # Errors
    /// `-ENOENT`: only the background is there. [`End::Yield`]: the context has changed since
    /// `epoch`.
    pub(crate) fn lookup<F: Format>(
        &self,
        context: &Context,
        epoch: u64,
        bfn: Bfn,
    ) -> Result<Mapping, End> {
        let found = {
            let _inside = context.enter(self.gate, epoch).map_err(|_| End::Yield)?;
            self.table::<F>(context).lookup(bfn)
        };
        let nothing = End::Failed(Errno::ENOENT);
        let Translation { leaf, pages } = found.ok_or(nothing)?;
        let inside = bfn.0.checked_rem(pages).unwrap_or(0);
        let frame = leaf.frame.checked_add(inside).ok_or(nothing)?;
        Ok(Mapping {
            frame,
            gfn: self.platform().gfn_of(self.domain.id(), frame),
            access: leaf.access,
            origin: leaf.soft.origin(),
            mmio: leaf.soft.mmio(),
            foreign: leaf.soft.foreign(),
            order: pages.trailing_zeros(),
        })
    }
}
