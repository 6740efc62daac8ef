//! What a domain's guest frames are.

use std::{collections::BTreeMap, rc::Rc};

use pviommu_hypervisor::platform::Access;

/// A guest frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Page {
    pub(super) frame: u64,
    pub(super) access: Access,
    pub(super) share: Option<usize>,
    /// Registers of a device.
    pub(super) mmio: bool,
}

impl Page {
    pub(super) fn is_own_ram(&self) -> bool {
        self.share.is_none() && !self.mmio
    }
}

/// Pages by guest frame. Copied only when one of two copies changes: the model is copied before each step.
#[derive(Clone, Debug)]
pub(super) struct P2m {
    pages: Rc<BTreeMap<u64, Page>>,
    /// The guest frames of memory of its own, by frame.
    own: Rc<BTreeMap<u64, u64>>,
}

impl P2m {
    pub(super) fn new(pages: BTreeMap<u64, Page>) -> Self {
        let own = pages.iter().filter(|(_, page)| page.is_own_ram());
        let own = Rc::new(own.map(|(gfn, page)| (page.frame, *gfn)).collect());
        Self { pages: Rc::new(pages), own }
    }

    pub(super) fn get(&self, gfn: u64) -> Option<&Page> {
        self.pages.get(&gfn)
    }

    /// The guest frame that is backed by a frame, if it is memory of its own.
    pub(super) fn gfn_of(&self, frame: u64) -> Option<u64> {
        self.own.get(&frame).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.iter().map(|(gfn, page)| (*gfn, page))
    }

    /// Puts another page, or none, behind a guest frame; what was there.
    pub(super) fn set(&mut self, gfn: u64, new: Option<Page>) -> Option<Page> {
        let pages = Rc::make_mut(&mut self.pages);
        let old = match new {
            Some(new) => pages.insert(gfn, new),
            None => pages.remove(&gfn),
        };
        let own = Rc::make_mut(&mut self.own);
        if let Some(old) = old.filter(Page::is_own_ram) {
            own.remove(&old.frame);
        }
        if let Some(new) = new.filter(Page::is_own_ram) {
            own.insert(new.frame, gfn);
        }
        old
    }
}
