//! Maps: a whole buffer in one call, which takes along unmaps that waited; what was done of it; and
//! what is done again.

use pviommu_abi::{Bfn, DomId, Errno, Gfn};

use super::access::Access;
use super::buffer::Run;
use super::error::DmaError;
use super::kernel::Kernel;
use super::space::DmaSpace;
use super::storage::Room;
use crate::batch::BatchBuilder;
use crate::error::{Error, MapError};

/// How often a call is issued again that is to be issued a little later.
pub(super) const RETRIES: u32 = 1000;

/// Why a call that maps did not map all.
struct Stopped {
    /// Pages that are mapped, from the first on.
    done: u32,
    /// Pages that may be mapped, from the first on.
    perhaps: u32,
    cause: Error,
}

impl Stopped {
    /// At the page after `done`; after an answer that cannot be believed, anywhere in `asked` pages.
    fn new(asked: u32, done: u32, cause: Error) -> Self {
        match cause {
            Error::BadReply(_) => Self { done: 0, perhaps: asked, cause },
            _ => Self { done, perhaps: done, cause },
        }
    }
}

/// Where and how runs are mapped.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) first: Bfn,
    pub(super) pages: u32,
    pub(super) access: Access,
    /// The domain whose pages they are, if it is another one.
    pub(super) owner: Option<DomId>,
}

impl<K: Kernel> DmaSpace<'_, K> {
    /// Maps runs of guest frames at bus frames that follow each other. After an error nothing is,
    /// but for [`DmaError::StillMapped`].
    pub(super) fn map_runs<R: Iterator<Item = Run> + Clone>(
        &self,
        target: Target,
        runs: &R,
    ) -> Result<(), DmaError> {
        let Target { first, pages, .. } = target;
        let mut mapped: u32 = 0;
        let (mut retries, mut may_flush) = (RETRIES, true);
        while mapped < pages {
            let bfn = first.checked_add(mapped.into()).unwrap_or(Bfn::MAX);
            let part = Target { first: bfn, pages: pages.saturating_sub(mapped), ..target };
            let stopped = match self.map_some(part, behind(runs.clone(), mapped)) {
                Ok(done) if done > 0 => {
                    mapped = mapped.saturating_add(done);
                    continue;
                }
                Ok(_) => {
                    self.clear(first, mapped).map_err(DmaError::StillMapped)?;
                    return Err(DmaError::Buffer);
                }
                Err(stopped) => stopped,
            };
            if stopped.perhaps > stopped.done {
                self.clear(bfn, stopped.perhaps).map_err(DmaError::StillMapped)?;
            } else {
                mapped = mapped.saturating_add(stopped.done);
            }
            match stopped.cause {
                Error::Retry(_) if retries > 0 => {
                    retries = retries.saturating_sub(1);
                    core::hint::spin_loop();
                }
                // What waits to be unmapped may be what is missing.
                Error::Exhausted(_) if may_flush && self.flush().is_ok() => may_flush = false,
                cause => {
                    self.clear(first, mapped).map_err(DmaError::StillMapped)?;
                    return Err(DmaError::Map(MapError { done: mapped, cause }));
                }
            }
        }
        Ok(())
    }

    /// Maps as many pages as one call takes.
    fn map_some<R: Iterator<Item = Run> + Clone>(
        &self,
        target: Target,
        runs: R,
    ) -> Result<u32, Stopped> {
        let mut look = runs.clone();
        let Some(run) = look.next() else { return Ok(0) };
        let carry =
            target.owner.is_none() && self.waiting.is_due(self.deferral, self.kernel().now_us());
        let is_alone = look.next().is_none() && !carry;
        if target.owner.is_none() && (is_alone || !self.has_batches()) {
            let (client, access) = (self.client(), target.access.map);
            let pages = run.pages.min(target.pages);
            let mapped = client.map(self.context(), target.first, run.first, pages, access);
            return mapped.map_err(|error| Stopped::new(pages, error.done, error.cause));
        }
        self.map_batch(target, runs, carry)
    }

    fn map_batch<R: Iterator<Item = Run> + Clone>(
        &self,
        target: Target,
        runs: R,
        carry: bool,
    ) -> Result<u32, Stopped> {
        let mut room = self.room();
        let Room { page, frames } = &mut *room;
        let mut batch = BatchBuilder::new(page, self.context());
        if let Some(owner) = target.owner {
            batch = batch.pages_of(owner);
        }
        let asked = self.add_maps(&mut batch, frames, target, runs);
        let maps = batch.len();
        let carried = if carry { self.carry(&mut batch) } else { Default::default() };
        let outcome = self.client().submit(&mut batch).map(|_| ());
        let done = batch.done();
        self.carried(&done, maps, &carried);
        let mut mapped: u32 = 0;
        for index in 0..maps {
            match done.element(index) {
                Some(Ok(element)) => mapped = mapped.saturating_add(element.pages),
                Some(Err(MapError { done, cause })) if outcome.is_ok() => {
                    return Err(Stopped::new(asked, mapped.saturating_add(done), cause));
                }
                // The call itself failed, and this one may not be the last that it began.
                told => {
                    let of_call = outcome.err().unwrap_or(Error::Failed(Errno::EIO));
                    let cause = told.and_then(Result::err).map_or(of_call, |error| error.cause);
                    return Err(Stopped { done: 0, perhaps: asked, cause });
                }
            }
        }
        Ok(mapped)
    }

    /// Adds elements that map, by whichever form is shorter; returns how many pages they are.
    fn add_maps<R: Iterator<Item = Run> + Clone>(
        &self,
        batch: &mut BatchBuilder<'_>,
        frames: &mut [Gfn],
        target: Target,
        runs: R,
    ) -> u32 {
        let flags = target.access.element;
        // An element is as long as 4 frames of a list.
        let elements = runs.clone().count();
        let by_list = elements.saturating_mul(4) > usize_of(target.pages).saturating_add(4);
        let mut added: u32 = 0;
        let at = |added: u32| target.first.checked_add(added.into()).unwrap_or(Bfn::MAX);
        if by_list {
            let most =
                batch.list_room().min(usize_of(self.most_pages())).min(usize_of(target.pages));
            let each = runs.flat_map(|run| {
                (0..run.pages).map_while(move |page| run.first.checked_add(page.into()))
            });
            let mut length = 0;
            for (place, frame) in frames.iter_mut().take(most).zip(each) {
                *place = frame;
                length += 1;
            }
            let list = frames.get(..length).unwrap_or_default();
            if batch.map_list(at(0), list, flags).is_ok() {
                added = u32::try_from(length).unwrap_or(0);
            }
            return added;
        }
        for run in runs {
            let mut from: u32 = 0;
            while from < run.pages && added < target.pages {
                let left = target.pages.saturating_sub(added);
                let pages = run.pages.saturating_sub(from).min(self.most_pages()).min(left);
                let gfn = run.first.checked_add(from.into()).unwrap_or(Gfn::MAX);
                let is_full = batch.len() >= self.most_elements();
                if is_full || batch.map(at(added), gfn, pages, flags).is_err() {
                    return added;
                }
                (from, added) = (from.saturating_add(pages), added.saturating_add(pages));
            }
        }
        added
    }
}

/// The runs without their first `pages` pages.
fn behind<R: Iterator<Item = Run> + Clone>(
    runs: R,
    pages: u32,
) -> impl Iterator<Item = Run> + Clone {
    let mut skip = pages;
    runs.filter_map(move |run| {
        let skipped = skip.min(run.pages);
        skip = skip.saturating_sub(skipped);
        let first = run.first.checked_add(skipped.into())?;
        let pages = run.pages.saturating_sub(skipped);
        (pages > 0).then_some(Run { first, pages })
    })
}

fn usize_of(pages: u32) -> usize {
    usize::try_from(pages).unwrap_or(usize::MAX)
}
