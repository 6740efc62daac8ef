//! The page that a batch travels in.

use core::fmt;

use pviommu_abi::{BatchElement, PAGE_SIZE};

/// Elements that fit the page.
pub(super) const CAPACITY: usize = 128;
/// The page and an element in words of 8 bytes, which is what an entry of a list takes.
pub(super) const PAGE_WORDS: usize = 512;
pub(super) const ELEMENT_WORDS: usize = 4;

const _: () = assert!(size_of::<BatchPage>() as u64 == PAGE_SIZE);
const _: () = assert!(size_of::<BatchElement>() == ELEMENT_WORDS * 8);

/// Room for the elements of a batch: exactly one page, so that one hypercall touches one guest
/// page.
#[repr(C, align(4096))]
pub struct BatchPage {
    pub(super) elements: [BatchElement; CAPACITY],
}

impl BatchPage {
    /// A page of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self { elements: zerocopy::transmute!([0_u64; PAGE_WORDS]) }
    }

    pub(super) fn words(&mut self) -> &mut [u64; PAGE_WORDS] {
        zerocopy::transmute_mut!(&mut self.elements)
    }
}

impl Default for BatchPage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BatchPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchPage").finish_non_exhaustive()
    }
}

/// Where in the page a list begins, in bytes.
pub(super) const fn list_offset(word: usize) -> u64 {
    // At most 4096.
    (word as u64).saturating_mul(8)
}
