//! Who owns which page, and what holds it: by the page, or by the range.

use std::sync::atomic::{AtomicU64, Ordering};

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::{
    addr::{GfnRange, Mfn},
    platform::{Access, AcquireError, PageKind, Run, Runs},
};

/// How an embedder holds pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// One locked operation for what of a call lies in one block of 2 MiB of guest frames.
    Range,
    /// One locked operation for each page.
    Locked,
}

/// Guest frames that are pinned together.
const BLOCK: u64 = 512;

/// Count in the low 40 bits, type above, owner on top: checked and counted in one step.
const OWNER_SHIFT: u32 = 48;
const RAM: u64 = 1 << 40;
const COUNT: u64 = RAM - 1;
const MOST: u64 = COUNT / 2;

/// The memory of one domain. Guest frame `n` is machine frame `p2m[n]`.
#[derive(Debug)]
pub struct Pages {
    pin: Pin,
    owner: DomId,
    p2m: Box<[u64]>,
    /// The other way round, from `first` on.
    m2p: Box<[u32]>,
    first: u64,
    /// Owner, type and count of each machine frame from `first` on.
    frames: Box<[AtomicU64]>,
    /// The same for each block of guest frames.
    blocks: Box<[AtomicU64]>,
}

impl Pages {
    /// `pages` pages of `owner`, a power of two, in machine frames from `first` on. Scattered, unless `straight`,
    /// so that no two neighbours follow each other.
    #[must_use]
    pub fn new(owner: DomId, pages: u64, first: Mfn, straight: bool, pin: Pin) -> Self {
        // An odd factor permutes the numbers below a power of two.
        let place =
            |n: u64| if straight { n } else { n.wrapping_mul(1583).wrapping_add(11) % pages };
        let p2m: Box<[u64]> = (0..pages).map(|n| first.0 + place(n)).collect();
        let mut m2p = vec![0u32; p2m.len()];
        for (gfn, mfn) in (0u32..).zip(&p2m) {
            m2p[(mfn - first.0) as usize] = gfn;
        }
        let word = || AtomicU64::new(u64::from(owner.0) << OWNER_SHIFT | RAM);
        Self {
            pin,
            owner,
            frames: p2m.iter().map(|_| word()).collect(),
            blocks: (0..pages.div_ceil(BLOCK)).map(|_| word()).collect(),
            p2m,
            m2p: m2p.into(),
            first: first.0,
        }
    }

    /// References held on all frames together.
    #[must_use]
    pub fn held(&self) -> u64 {
        let words = self.frames.iter().chain(&self.blocks);
        words.map(|word| word.load(Ordering::Relaxed) & COUNT).sum()
    }

    /// Checks owner and type and takes `count` references, in one step.
    #[inline]
    fn hold(&self, word: &AtomicU64, owner: DomId, count: u64) -> Result<(), AcquireError> {
        let before = word.fetch_add(count, Ordering::AcqRel);
        let right = before & !COUNT == u64::from(owner.0) << OWNER_SHIFT | RAM;
        if right && before & COUNT < MOST {
            return Ok(());
        }
        word.fetch_sub(count, Ordering::AcqRel);
        Err(if right { AcquireError::Saturated } else { AcquireError::NotPermitted })
    }

    /// As [`PageOwnership::acquire`](pviommu_hypervisor::platform::PageOwnership::acquire).
    ///
    /// # Errors
    /// Why the page after those appended could not be acquired.
    #[inline]
    pub fn acquire(
        &self,
        owner: DomId,
        gfns: GfnRange,
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let mut at = gfns.first();
        let mut left = gfns.pages();
        while left > 0 && !out.is_full() {
            let in_block = BLOCK - at.0 % BLOCK;
            let (taken, refused) =
                self.acquire_in_block(owner, at, left.min(in_block), access, out);
            if let Some(error) = refused {
                return Err(error);
            }
            at = Gfn(at.0 + taken);
            left -= taken;
        }
        Ok(())
    }

    /// At most `pages` pages of one block: how many, and why not more if not for want of room.
    #[inline]
    fn acquire_in_block(
        &self,
        owner: DomId,
        at: Gfn,
        pages: u64,
        access: Access,
        out: &mut Runs,
    ) -> (u64, Option<AcquireError>) {
        let first = usize::try_from(at.0).unwrap_or(usize::MAX);
        let backed = self.p2m.get(first..).unwrap_or_default();
        let backed = &backed[..backed.len().min(pages as usize)];
        let Some(block) = self.blocks.get(first / BLOCK as usize).filter(|_| !backed.is_empty())
        else {
            return (0, Some(AcquireError::NotBacked));
        };
        let by_range = self.pin == Pin::Range;
        if by_range && let Err(error) = self.hold(block, owner, backed.len() as u64) {
            return (0, Some(error));
        }
        if by_range {
            let taken = out.push_each(PageKind::Ram, access, backed.iter().map(|mfn| Mfn(*mfn)));
            if taken < backed.len() as u64 {
                block.fetch_sub(backed.len() as u64 - taken, Ordering::AcqRel);
            }
            return (taken, None);
        }
        let mut refused = None;
        let held = backed.iter().map_while(|mfn| {
            let word = &self.frames[(mfn - self.first) as usize];
            refused = self.hold(word, owner, 1).err();
            refused.is_none().then_some(Mfn(*mfn))
        });
        let taken = out.push_each(PageKind::Ram, access, held);
        (taken, refused)
    }

    /// As [`PageOwnership::acquire_list`](pviommu_hypervisor::platform::PageOwnership::acquire_list). What follows each other in
    /// a list lies most often in different blocks, so that each page is held by itself.
    ///
    /// # Errors
    /// Why the page after those appended could not be acquired.
    #[inline]
    pub fn acquire_list(
        &self,
        owner: DomId,
        gfns: &[Gfn],
        access: Access,
        out: &mut Runs,
    ) -> Result<(), AcquireError> {
        let mut refused = None;
        let held = gfns.iter().map_while(|gfn| {
            let held = self.hold_page(owner, *gfn);
            refused = held.err();
            held.ok()
        });
        out.push_each(PageKind::Ram, access, held);
        refused.map_or(Ok(()), Err)
    }

    /// The frame behind `gfn`, with a reference.
    #[inline]
    fn hold_page(&self, owner: DomId, gfn: Gfn) -> Result<Mfn, AcquireError> {
        let index = usize::try_from(gfn.0).unwrap_or(usize::MAX);
        let mfn = *self.p2m.get(index).ok_or(AcquireError::NotBacked)?;
        let word = match self.pin {
            Pin::Range => &self.blocks[index / BLOCK as usize],
            Pin::Locked => &self.frames[(mfn - self.first) as usize],
        };
        self.hold(word, owner, 1)?;
        Ok(Mfn(mfn))
    }

    /// As [`PageOwnership::release`](pviommu_hypervisor::platform::PageOwnership::release).
    #[inline]
    pub fn release(&self, run: &Run) {
        for mfn in run.frames.first().0..=run.frames.last().0 {
            let index = (mfn - self.first) as usize;
            match self.pin {
                Pin::Locked => self.frames[index].fetch_sub(1, Ordering::AcqRel),
                Pin::Range => {
                    let block = self.m2p[index] as usize / BLOCK as usize;
                    self.blocks[block].fetch_sub(1, Ordering::AcqRel)
                }
            };
        }
    }

    /// Whose pages these are.
    #[must_use]
    pub const fn owner(&self) -> DomId {
        self.owner
    }
}
