//! Pages of other domains. They never wait and are never kept: their owner may want them back.

use pviommu_abi::{DomId, ElementFlags, Errno};

use super::access::Direction;
use super::buffer::{Buffer, first_offset};
use super::device::Device;
use super::error::{DmaError, MapFailed};
use super::kernel::Kernel;
use super::mapping::Mapping;
use super::mode::{Failed, Mode, Request, Strict};
use super::space::DmaSpace;
use crate::batch::BatchBuilder;
use crate::bfn::BfnRange;
use crate::error::{Error, MapError};

impl<'s, K: Kernel, M: Mode> Device<'s, K, M> {
    /// Maps guest frames of another domain; for the hardware domain only.
    ///
    /// # Errors
    ///
    /// As for [`map`](Self::map); [`DmaError::Map`] with `EPERM` for any other domain, and
    /// `EOPNOTSUPP` where the hypervisor has no batches.
    pub fn map_foreign<B: Buffer + 'static>(
        &self,
        owner: DomId,
        buffer: B,
        direction: Direction,
    ) -> Result<Mapping<'s, K, B, Strict>, MapFailed<B>> {
        let request = Request { owner: Some(owner), ..self.request(direction) };
        let space = self.space();
        let mapped = space.needs_batches().and_then(|()| space.map_buffer(&buffer, request));
        match mapped {
            Ok(range) => Ok(Mapping::new(space, first_offset(&buffer), buffer, range)),
            Err(failed) => Err(failed.with(buffer)),
        }
    }

    /// Maps whole pages that `owner` granted with these numbers, at bus frames that follow each
    /// other. `grants` is whatever keeps the grants until they are unmapped.
    ///
    /// # Errors
    ///
    /// As for [`map_foreign`](Self::map_foreign); [`DmaError::Map`] with `EPERM` for a grant to
    /// somebody else, or one that may only be read. At most 128 can be mapped by one call;
    /// [`DmaError::Buffer`] for more, or none.
    pub fn map_grants<G: AsRef<[u64]> + 'static>(
        &self,
        owner: DomId,
        grants: G,
        direction: Direction,
    ) -> Result<Mapping<'s, K, G, Strict>, MapFailed<G>> {
        let request = Request { owner: Some(owner), ..self.request(direction) };
        let space = self.space();
        let mapped =
            space.needs_batches().and_then(|()| space.map_grants(grants.as_ref(), request));
        match mapped {
            Ok(range) => Ok(Mapping::new(space, 0, grants, range)),
            Err(failed) => Err(failed.with(grants)),
        }
    }
}

impl<K: Kernel> DmaSpace<'_, K> {
    fn needs_batches(&self) -> Result<(), Failed> {
        if self.has_batches() {
            return Ok(());
        }
        let cause = Error::from_errno(Errno::EOPNOTSUPP);
        Err(DmaError::Map(MapError { done: 0, cause }).into())
    }

    fn map_grants(&self, grants: &[u64], request: Request) -> Result<BfnRange, Failed> {
        let pages = u32::try_from(grants.len()).map_err(|_| DmaError::Buffer)?;
        if pages == 0 || grants.len() > self.most_elements() {
            return Err(DmaError::Buffer.into());
        }
        let range = self.allocate(pages, request)?;
        let mapped = self.map_grants_at(&range, grants, request);
        self.keep_if(range, mapped)
    }

    fn map_grants_at(
        &self,
        range: &BfnRange,
        grants: &[u64],
        request: Request,
    ) -> Result<(), DmaError> {
        let flags: ElementFlags = request.access.element;
        let mut room = self.room();
        let mut batch = BatchBuilder::new(&mut room.page, self.context());
        if let Some(owner) = request.owner {
            batch = batch.pages_of(owner);
        }
        let mut bfn = Some(range.first());
        for grant in grants {
            let at = bfn.ok_or(DmaError::Buffer)?;
            batch.map_grant(at, *grant, flags).map_err(|_| DmaError::Buffer)?;
            bfn = at.checked_add(1);
        }
        let outcome = self.client().submit(&mut batch).map(|_| ());
        let has_ended = outcome.is_ok();
        let error = match (batch.done().first_error(), outcome) {
            // The one that failed may have been mapped all the same.
            (Some((index, MapError { done, cause })), _) => {
                MapError { done: u32::try_from(index).unwrap_or(0).saturating_add(done), cause }
            }
            (None, Err(cause)) => MapError { done: 0, cause },
            (None, Ok(())) => return Ok(()),
        };
        drop(room);
        // Those before the one that failed; all, if it may not be the last that was begun.
        let pages = u32::try_from(range.pages()).unwrap_or(u32::MAX);
        let is_known = has_ended && error.done > 0 && !matches!(error.cause, Error::BadReply(_));
        let pages = if is_known { error.done.min(pages) } else { pages };
        self.clear(range.first(), pages).map_err(DmaError::StillMapped)?;
        Err(DmaError::Map(error))
    }
}
