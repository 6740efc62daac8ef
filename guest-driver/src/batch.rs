//! Many operations in one hypercall.
//!
//! Elements and lists share one page: elements grow up from its start, lists of guest frames down
//! from its end. What was asked for is remembered outside of it, for the hypervisor can write
//! anything into the page.

#![forbid(unsafe_code)]

mod done;
mod page;
mod submit;

use core::fmt;

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, DomId, ElementFlags, Gfn,
};

pub use self::done::{BatchDone, ElementDone, LookedUp};
pub use self::page::BatchPage;

use self::done::Asked;
use self::page::{CAPACITY, ELEMENT_WORDS, PAGE_WORDS, list_offset};

/// The page has no room for another element, or not for its list: submit, and
/// [`clear`](BatchBuilder::clear).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull;

impl fmt::Display for BatchFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room left in the batch")
    }
}

impl core::error::Error for BatchFull {}

/// Collects operations on one context, for [`IommuClient::submit`]. Pages are of 4 KiB.
///
/// What a hypervisor refuses, such as 0 pages or a range that wraps, can be added; its element
/// fails. The most elements and pages are told by [`IommuClient::query_limits`].
///
/// [`IommuClient::submit`]: crate::IommuClient::submit
/// [`IommuClient::query_limits`]: crate::IommuClient::query_limits
///
/// ```
/// use pviommu_abi::{Batch, BatchElement, Bfn, ContextId, ElementFlags, Gfn, Subop};
/// use pviommu_guest::{BatchBuilder, BatchPage, IommuClient};
/// use zerocopy::{FromBytes, IntoBytes};
///
/// // Answers as a hypervisor that can do everything.
/// let iommu = IommuClient::new(|subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>| {
///     assert_eq!(subop, Subop::BATCH);
///     let call = Batch::mut_from_bytes(arg).unwrap();
///     let count = call.nr_ops as usize;
///     let (elements, _) =
///         <[BatchElement]>::mut_from_prefix_with_elems(buffer.unwrap(), count).unwrap();
///     for element in elements {
///         element.done = element.nr;
///     }
///     call.nr_done = call.nr_ops;
///     0
/// });
///
/// let mut page = BatchPage::new();
/// let mut batch = BatchBuilder::new(&mut page, ContextId(1));
/// let access = ElementFlags::READ | ElementFlags::WRITE;
/// batch.unmap(Bfn(0x100), 8, ElementFlags::SKIP_HOLES)?;
/// batch.map(Bfn(0x100), Gfn(0x8000), 4, access)?;
/// let scattered = batch.map_list(Bfn(0x104), &[Gfn(0x17), Gfn(0x4), Gfn(0x99)], access)?;
///
/// let done = iommu.submit(&mut batch)?;
/// assert_eq!(done.first_error(), None);
/// assert_eq!(done.element(scattered).unwrap()?.pages, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder<'p> {
    page: &'p mut BatchPage,
    header: Batch,
    asked: [Asked; CAPACITY],
    /// How many elements there are.
    used: usize,
    /// The word of the page that the lists begin at.
    lists: usize,
    /// How many elements are finished, of those submitted last.
    finished: usize,
}

impl<'p> BatchBuilder<'p> {
    /// An empty batch of operations on `context` of the calling domain, which stops at the first
    /// one that fails.
    pub fn new(page: &'p mut BatchPage, context: ContextId) -> Self {
        let header = Batch { ctx_id: context.into(), ..Batch::default() };
        let asked = [Asked::default(); CAPACITY];
        Self { page, header, asked, used: 0, lists: PAGE_WORDS, finished: 0 }
    }

    /// Runs all elements, whatever becomes of those before.
    #[must_use]
    pub fn run_all(mut self) -> Self {
        self.header.flags |= BatchFlags::RUN_ALL;
        self
    }

    /// Acts on the context of another domain, and maps that domain's pages.
    #[must_use]
    pub fn for_domain(mut self, domain: DomId) -> Self {
        self.header.domid = domain;
        self
    }

    /// Maps pages of `owner` instead of those of the domain acted for: with
    /// [`map_grant`](Self::map_grant) what it granted to that domain, with the others its guest
    /// frames, which only the hardware domain may. Elements that do not map are not affected.
    #[must_use]
    pub fn pages_of(mut self, owner: DomId) -> Self {
        self.header.owner = owner;
        self
    }

    /// Maps `pages` guest frames from `gfn` on at bus frames from `bfn` on. `flags` has at least
    /// one of READ and WRITE.
    ///
    /// Returns the index of the element, as do the others.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then.
    pub fn map(
        &mut self,
        bfn: Bfn,
        gfn: Gfn,
        pages: u32,
        flags: ElementFlags,
    ) -> Result<usize, BatchFull> {
        self.push(BatchOp::MAP, flags, bfn, gfn.0, pages)
    }

    /// Maps the guest frames `gfns`, in their order, at bus frames from `bfn` on. Takes 8 bytes of
    /// the page for each, and 32 for the element.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then. [`list_room`](Self::list_room) frames would have fit.
    pub fn map_list(
        &mut self,
        bfn: Bfn,
        gfns: &[Gfn],
        flags: ElementFlags,
    ) -> Result<usize, BatchFull> {
        if self.room() == 0 || gfns.len() > self.list_room() {
            return Err(BatchFull);
        }
        let pages = u32::try_from(gfns.len()).map_err(|_| BatchFull)?;
        let start = self.lists.checked_sub(gfns.len()).ok_or(BatchFull)?;
        let list = self.page.words().get_mut(start..self.lists).ok_or(BatchFull)?;
        for (entry, gfn) in list.iter_mut().zip(gfns) {
            *entry = gfn.0;
        }
        self.lists = start;
        self.push(BatchOp::MAP_LIST, flags, bfn, list_offset(start), pages)
    }

    /// Maps the page that [`pages_of`](Self::pages_of) says the owner of granted with the number
    /// `reference` at bus frame `bfn`. The grant is in use until the flush after its unmap, unless
    /// the hypervisor takes the mapping out because the granter is gone. `flags` is as for
    /// [`map`](Self::map); WRITE needs a grant that is not read-only.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then.
    pub fn map_grant(
        &mut self,
        bfn: Bfn,
        reference: u64,
        flags: ElementFlags,
    ) -> Result<usize, BatchFull> {
        self.push(BatchOp::MAP_GRANT, flags, bfn, reference, 1)
    }

    /// Unmaps `pages` bus frames from `bfn` on. `flags` is empty, or of NO_FLUSH and SKIP_HOLES.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then.
    pub fn unmap(&mut self, bfn: Bfn, pages: u32, flags: ElementFlags) -> Result<usize, BatchFull> {
        self.push(BatchOp::UNMAP, flags, bfn, 0, pages)
    }

    /// Makes what was mapped or unmapped without a flush at `pages` bus frames from `bfn` on
    /// visible to devices. 0 pages from bus frame 0 are the whole context.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then.
    pub fn flush(&mut self, bfn: Bfn, pages: u32) -> Result<usize, BatchFull> {
        self.push(BatchOp::FLUSH, ElementFlags::empty(), bfn, 0, pages)
    }

    /// [`flush`](Self::flush) of the whole context.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then.
    pub fn flush_all(&mut self) -> Result<usize, BatchFull> {
        self.flush(Bfn(0), 0)
    }

    /// Asks what `bfn` maps to.
    ///
    /// # Errors
    ///
    /// [`BatchFull`]; nothing is added then.
    pub fn lookup(&mut self, bfn: Bfn) -> Result<usize, BatchFull> {
        self.push(BatchOp::LOOKUP, ElementFlags::empty(), bfn, 0, 1)
    }

    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no element.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many elements without a list still fit; at first 128.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.free_words() / ELEMENT_WORDS
    }

    /// How many frames the next [`map_list`](Self::map_list) can take; at first 508. 0 also if
    /// not even its element fits.
    #[must_use]
    pub const fn list_room(&self) -> usize {
        self.free_words().saturating_sub(ELEMENT_WORDS)
    }

    /// Removes all elements. Context, domains and how to run stay.
    pub const fn clear(&mut self) {
        self.used = 0;
        self.lists = PAGE_WORDS;
        self.finished = 0;
    }

    /// What became of the elements when they were last submitted. After an error, those that were
    /// finished before it.
    #[must_use]
    pub fn done(&self) -> BatchDone<'_> {
        BatchDone::new(&self.asked, &self.page.elements, self.finished)
    }

    const fn free_words(&self) -> usize {
        self.lists.saturating_sub(self.used.saturating_mul(ELEMENT_WORDS))
    }

    fn push(
        &mut self,
        op: BatchOp,
        flags: ElementFlags,
        bfn: Bfn,
        page: u64,
        nr: u32,
    ) -> Result<usize, BatchFull> {
        let index = self.used;
        if self.room() == 0 {
            return Err(BatchFull);
        }
        let element = self.page.elements.get_mut(index).ok_or(BatchFull)?;
        let asked = self.asked.get_mut(index).ok_or(BatchFull)?;
        *element = BatchElement { op, flags, status: 0, bfn, page, nr, done: 0 };
        *asked = Asked { op, flags, nr };
        self.used = index.saturating_add(1);
        Ok(index)
    }
}
