//! What a context can hold, and what the service can do with it.

use pviommu_abi::{Bfn, CapabilityFlags, ContextId, PAGE_SIZE};

use super::error::DmaError;
use super::kernel::Kernel;
use crate::client::IommuClient;
use crate::error::Error;

/// Fewest elements of a batch that are of use: an unmap, and its flush.
const LEAST_ELEMENTS: usize = 2;
/// Most elements of a batch of one page.
const MOST_ELEMENTS: usize = 128;

/// What a context can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) first: Bfn,
    pub(super) last: Bfn,
    /// Elements of a batch; 0 without batches, else 2 at least.
    pub(super) elements: usize,
    /// Pages of an element.
    pub(super) pages: u32,
    /// Coherence with caches can be asked for.
    pub(super) cache: bool,
}

impl Limits {
    pub(super) fn of<K: Kernel>(
        client: &IommuClient<K>,
        context: ContextId,
    ) -> Result<Self, DmaError> {
        let told = client.query_capabilities().map_err(no_service)?;
        let has = |capability| told.cap_flags.contains(capability);
        let cache = has(CapabilityFlags::CACHE);
        // Bus frame 0 is left out: drivers take address 0 for none.
        let least = |first: Bfn| first.max(Bfn(1));
        match client.query_limits(context) {
            Ok(limits) => {
                let elements = usize::try_from(limits.max_batch_ops).unwrap_or(usize::MAX);
                let elements = if has(CapabilityFlags::BATCH) { elements } else { 0 };
                let pages = limits.max_element_pages;
                let is_useful = pages > 0 && elements >= LEAST_ELEMENTS;
                let elements = if is_useful { elements.min(MOST_ELEMENTS) } else { 0 };
                let (first, last) = (least(limits.aperture_first), limits.aperture_last);
                Ok(Self { first, last, elements, pages, cache })
            }
            Err(Error::NotAvailable(_)) => {
                let last = last_whole_frame(told.max_iova_addr).unwrap_or_default();
                Ok(Self { first: least(Bfn(0)), last, elements: 0, pages: 0, cache })
            }
            Err(error) => Err(DmaError::Limits(error)),
        }
    }
}

/// An error of the first call there is.
pub(super) fn no_service(error: Error) -> DmaError {
    match error {
        Error::NotAvailable(_) => DmaError::NoService(error),
        error => DmaError::Limits(error),
    }
}

/// The last bus frame of which a device that can put byte addresses up to `reach` on the bus
/// reaches every byte; `None` if there is none.
pub(super) const fn last_whole_frame(reach: u64) -> Option<Bfn> {
    match reach.checked_add(1) {
        None => Some(Bfn(u64::MAX / PAGE_SIZE)),
        Some(end) => Bfn(end / PAGE_SIZE).checked_sub(1),
    }
}
