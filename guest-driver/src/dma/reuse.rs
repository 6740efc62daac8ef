//! Mappings that are kept after their unmap, for buffers that come again.

use alloc::sync::Arc;
use core::num::NonZeroUsize;
use core::sync::atomic::Ordering::Relaxed;
use core::{fmt, mem};

use pviommu_abi::Bfn;

use super::buffer::Buffer;
use super::cache::{Cache, Key};
use super::device::Device;
use super::error::{DmaError, StillMapped};
use super::kernel::Kernel;
use super::mapping::Mapping;
use super::mode::{Failed, Hold, Mode, Request, Sealed, Strict};
use super::space::DmaSpace;
use crate::bfn::BfnRange;

/// Mappings are kept after their unmap, up to a number, and found again when the same pages are
/// mapped for the same direction. Buffers of which one is mapped while another of the same pages is
/// share the mapping.
///
/// What it gives up: a device that goes wrong can read, or change, what was in its buffers, and
/// whatever the kernel uses those pages for, until [`Kept::reclaim`], or until so many others were
/// mapped that the mapping has gone; and pages of strict devices if they share pages with those. Only
/// for devices that are trusted as much as the kernel, or for buffers that are used for nothing else.
#[derive(Debug)]
pub struct Reusing(Arc<Cache>);

/// What a mapping of a [`Reusing`] device has.
pub struct Share {
    first: Bfn,
    pages: u32,
    of: Arc<Cache>,
    what: What,
}

enum What {
    /// One of `active`.
    Kept(Arc<Key>),
    /// Of its own: another CPU mapped the same pages at the same time, or it could not be unmapped.
    Own(Arc<Key>, BfnRange),
}

impl Mode for Reusing {}

impl<'s, K: Kernel> Device<'s, K, Strict> {
    /// The same device with up to `kept` mappings kept alive after their unmap. What that gives up is
    /// told at [`Reusing`].
    #[must_use]
    pub fn reusing(self, kept: NonZeroUsize) -> Device<'s, K, Reusing> {
        self.with_mode(Reusing(Arc::new(Cache::new(kept))))
    }
}

impl<K: Kernel> Device<'_, K, Reusing> {
    /// How many maps were found among those kept.
    pub fn hits(&self) -> u64 {
        self.mode().0.hits.load(Relaxed)
    }

    /// How many mappings are kept that no buffer has.
    pub fn kept(&self) -> usize {
        self.mode().0.kept.lock().idle.len()
    }
}

impl Sealed for Reusing {
    type Hold = Share;

    fn map<K: Kernel, B: Buffer + ?Sized>(
        &self,
        space: &DmaSpace<'_, K>,
        buffer: &B,
        request: Request,
    ) -> Result<Share, Failed> {
        let key = Arc::new(Key::new(buffer, request.access));
        if let Some((first, pages)) = self.0.kept.lock().find(&key) {
            self.0.hits.fetch_add(1, Relaxed);
            return Ok(Share { first, pages, of: Arc::clone(&self.0), what: What::Kept(key) });
        }
        let range = space.map_buffer(buffer, request)?;
        let (first, pages) = (range.first(), Hold::pages(&range));
        let what = match self.0.kept.lock().add(&key, range) {
            Ok(()) => What::Kept(key),
            Err(range) => What::Own(key, range),
        };
        Ok(Share { first, pages, of: Arc::clone(&self.0), what })
    }

    fn unmap<K: Kernel>(space: &DmaSpace<'_, K>, share: Share) -> Result<(), (Share, DmaError)> {
        let Share { first, pages, of, what } = share;
        let (key, range) = match what {
            What::Own(key, range) => (key, range),
            What::Kept(key) => match of.kept.lock().leave(&key) {
                // Others have the same pages.
                None => return Ok(()),
                Some(range) => (key, range),
            },
        };
        // A part of it may have gone, so it is nobody else's to find.
        let own = |range| Share { first, pages, of, what: What::Own(key, range) };
        space.unmap_now(range).map_err(|(range, cause)| (own(range), cause))
    }

    fn end<K: Kernel>(&self, space: &DmaSpace<'_, K>) {
        self.0.kept.lock().closed = true;
        loop {
            let last = self.0.kept.lock().idle.pop_lru();
            let Some((_, range)) = last else { break };
            space.drop_range(range);
        }
        let stuck = mem::take(&mut self.0.kept.lock().stuck);
        for (_, range) in stuck {
            space.drop_range(range);
        }
        // The device must not find it mapped when it is somewhere else and comes again.
        let _ = space.flush();
    }
}

impl Hold for Share {
    fn first(&self) -> Bfn {
        self.first
    }

    fn pages(&self) -> u32 {
        self.pages
    }
}

impl<'d, K: Kernel, B> Mapping<'d, K, B, Reusing> {
    /// Keeps the mapping, for when the same pages are mapped again. The one that was used the
    /// longest ago goes, if there are too many.
    pub fn unmap(mut self) -> Kept<'d, K, B> {
        let space = self.space();
        let (buffer, Share { of, what, .. }) = self.take();
        let (key, is_kept, gone) = match what {
            What::Own(key, range) => (Arc::clone(&key), false, Some((key, range))),
            What::Kept(key) => {
                let gone = of.kept.lock().keep(&key);
                (key, true, gone)
            }
        };
        if let Some((gone, range)) = gone
            && let Err((range, _)) = space.unmap_later(range)
        {
            // Whoever reclaims its buffer tries again.
            of.kept.lock().stuck.push((gone, range));
        }
        Kept { space, of, key, is_kept, buffer: Some(buffer) }
    }
}

/// A buffer that was unmapped and whose mapping may be kept: the device may reach it as before. It
/// comes out safe ([`reclaim`](Self::reclaim)) or quick
/// ([`accept_exposure`](Self::accept_exposure)). Dropping it is to reclaim it.
#[must_use = "dropping it unmaps the buffer after all"]
pub struct Kept<'d, K: Kernel, B> {
    space: &'d DmaSpace<'d, K>,
    of: Arc<Cache>,
    key: Arc<Key>,
    /// False if the mapping was not to be kept.
    is_kept: bool,
    /// Gone once it was taken.
    buffer: Option<B>,
}

impl<K: Kernel, B> Kept<'_, K, B> {
    /// Unmaps it and flushes. The buffer that comes back is out of the device's reach, but for pages
    /// that another buffer shares which is still mapped.
    ///
    /// # Errors
    ///
    /// [`StillMapped`], to try again.
    pub fn reclaim(mut self) -> Result<B, StillMapped<Self>> {
        match (self.end(), self.buffer.take()) {
            (Ok(()), Some(buffer)) => Ok(buffer),
            (outcome, buffer) => {
                let cause = outcome.err().unwrap_or(DmaError::Buffer);
                self.buffer = buffer;
                Err(StillMapped { cause, mapping: self })
            }
        }
    }

    /// The buffer at once, although the device may read and change it for as long as its mapping is
    /// kept. The caller takes the risk that [`Reusing`] tells of.
    pub fn accept_exposure(mut self) -> B {
        match self.buffer.take() {
            Some(buffer) => buffer,
            None => unreachable!("it has its buffer until it is consumed"),
        }
    }

    fn end(&self) -> Result<(), DmaError> {
        loop {
            let stuck = self.of.kept.lock().take_stuck(&self.key);
            let Some(range) = stuck else { break };
            self.unmap_now(range)?;
        }
        let mut lists = self.of.kept.lock();
        if self.is_kept && lists.active.contains_key(&self.key) {
            return Ok(());
        }
        let idle = if self.is_kept { lists.idle.pop(&self.key) } else { None };
        drop(lists);
        match idle {
            Some(range) => self.unmap_now(range),
            // It has gone, and may wait.
            None => self.space.flush(),
        }
    }

    fn unmap_now(&self, range: BfnRange) -> Result<(), DmaError> {
        self.space.unmap_now(range).map_err(|(range, cause)| {
            self.of.kept.lock().stuck.push((Arc::clone(&self.key), range));
            cause
        })
    }
}

impl<K: Kernel, B> Drop for Kept<'_, K, B> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        match self.end() {
            Ok(()) => drop(buffer),
            Err(_) => mem::forget(buffer),
        }
    }
}

impl<K: Kernel, B> fmt::Debug for Kept<'_, K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, pages, .. } = self;
        f.debug_struct("Share").field("first", first).field("pages", pages).finish_non_exhaustive()
    }
}
