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
    Own(BfnRange),
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
            Err(range) => What::Own(range),
        };
        Ok(Share { first, pages, of: Arc::clone(&self.0), what })
    }

    fn unmap<K: Kernel>(space: &DmaSpace<'_, K>, share: Share) -> Result<(), (Share, DmaError)> {
        let Share { first, pages, of, what } = share;
        let range = match what {
            What::Own(range) => range,
            What::Kept(key) => match of.kept.lock().leave(&key) {
                // Others have the same pages.
                None => return Ok(()),
                Some(range) => range,
            },
        };
        // A part of it may have gone, so it is nobody else's to find.
        let own = |range| Share { first, pages, of, what: What::Own(range) };
        space.unmap_now(range).map_err(|(range, cause)| (own(range), cause))
    }

    fn end<K: Kernel>(&self, space: &DmaSpace<'_, K>) {
        self.0.kept.lock().closed = true;
        loop {
            let last = self.0.kept.lock().idle.pop_lru();
            let Some((_, range)) = last else { break };
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
        let (key, gone) = match what {
            What::Own(range) => (None, Some(range)),
            What::Kept(key) => {
                let gone = of.kept.lock().keep(&key);
                (Some(key), gone)
            }
        };
        if let Some(range) = gone {
            space.drop_range(range);
        }
        Kept { space, of, key, left: None, buffer: Some(buffer) }
    }
}

/// A buffer that was unmapped and whose mapping may be kept: the device may reach it as before. It
/// comes out safe ([`reclaim`](Self::reclaim)) or quick
/// ([`accept_exposure`](Self::accept_exposure)). Dropping it is to reclaim it.
#[must_use = "dropping it unmaps the buffer after all"]
pub struct Kept<'d, K: Kernel, B> {
    space: &'d DmaSpace<'d, K>,
    of: Arc<Cache>,
    /// `None` if the mapping was not to be kept.
    key: Option<Arc<Key>>,
    /// What could not be unmapped. A part of it may have gone, so no map finds it any more.
    left: Option<BfnRange>,
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
        self.give_up();
        match self.buffer.take() {
            Some(buffer) => buffer,
            None => unreachable!("it has its buffer until it is consumed"),
        }
    }

    fn end(&mut self) -> Result<(), DmaError> {
        if let Some(range) = self.left.take() {
            self.unmap_now(range)?;
        }
        let Some(key) = &self.key else { return self.space.flush() };
        let mut lists = self.of.kept.lock();
        if lists.active.contains_key(key) {
            return Ok(());
        }
        let idle = lists.idle.pop(key);
        drop(lists);
        match idle {
            Some(range) => self.unmap_now(range),
            // It has gone, and may wait.
            None => self.space.flush(),
        }
    }

    fn unmap_now(&mut self, range: BfnRange) -> Result<(), DmaError> {
        self.space.unmap_now(range).map_err(|(range, cause)| {
            self.left = Some(range);
            cause
        })
    }

    /// What could not be unmapped is tried once more, and its bus frames stay taken if it fails.
    fn give_up(&mut self) {
        if let Some(range) = self.left.take() {
            self.space.drop_range(range);
        }
    }
}

impl<K: Kernel, B> Drop for Kept<'_, K, B> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        match self.end() {
            Ok(()) => drop(buffer),
            Err(_) => mem::forget(buffer),
        }
        self.give_up();
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
