//! What one device is given: pages in, a range of bus frames out, and back.
//!
//! Every map takes bus frames that nobody uses, and every unmap is flushed before it returns, so that
//! what was taken out can be used for anything at once. How pages are chosen, and what else lies in
//! them, is the caller's affair: a device that may reach a buffer reaches the whole pages it lies in.

#![forbid(unsafe_code)]

mod error;
mod setup;

use pviommu_abi::{Bfn, ContextId, Errno, Gfn, MapFlags, PAGE_SIZE};

pub use self::error::SpaceError;

use crate::bfn::{BfnAllocator, BfnError};
use crate::client::IommuClient;
use crate::error::{Error, MapError};
use crate::hypercall::Hypercall;

/// How often a call is issued again that is to be issued a little later.
const RETRIES: u32 = 1000;

/// Bus frames and mappings in one context, below what a device can reach. At most `N` ranges are
/// reserved or mapped at the same time.
///
/// ```
/// use pviommu_abi::{ContextId, Errno, Gfn, MapFlags, MapPages, Subop, UnmapPages, Capabilities};
/// use pviommu_guest::{DeviceSpace, IommuClient};
/// use zerocopy::{FromBytes, IntoBytes};
///
/// // Answers as a hypervisor that has RFC v7 only, and maps everything.
/// let hypervisor = |subop: Subop, arg: &mut [u8], _buffer: Option<&mut [u8]>| {
///     match subop {
///         Subop::QUERY_CAPABILITIES => {
///             let reply = Capabilities::mut_from_bytes(arg).unwrap();
///             (reply.max_iova_addr, reply.pgsize_mask) = ((1 << 48) - 1, 0x1000);
///         }
///         Subop::MAP_PAGES => {
///             let call = MapPages::mut_from_bytes(arg).unwrap();
///             call.mapped = call.nr_pages;
///         }
///         Subop::UNMAP_PAGES => {
///             let call = UnmapPages::mut_from_bytes(arg).unwrap();
///             call.unmapped = call.nr_pages;
///         }
///         _ => return Errno::EOPNOTSUPP.to_ret(),
///     }
///     0
/// };
///
/// // The device has 32 address bits.
/// let client = IommuClient::new(hypervisor);
/// let mut space = DeviceSpace::<_, 64>::new(client, ContextId(1), 0xffff_ffff)?;
/// let frames = [Gfn(0x17), Gfn(0x4)];
/// let bfn = space.map(2, MapFlags::READABLE, |page| frames.get(page as usize).copied())?;
/// // The device is given this address.
/// assert_eq!(bfn.address(), Some(0xffff_e000));
/// space.unmap(bfn, 2)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DeviceSpace<H, const N: usize> {
    client: IommuClient<H>,
    context: ContextId,
    bfns: BfnAllocator<N>,
    /// The last bus frame the device can reach as a whole.
    limit: Bfn,
}

impl<H: Hypercall, const N: usize> DeviceSpace<H, N> {
    /// The client it calls through.
    pub const fn client(&self) -> &IommuClient<H> {
        &self.client
    }

    /// The context it maps in.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// How many bus frames are free.
    pub fn free_pages(&self) -> u64 {
        self.bfns.free_pages()
    }

    /// Maps `pages` guest frames at bus frames that follow each other, and returns the first of
    /// these. `frame_of` tells the frame of each page, by its number from 0 on; frames that follow
    /// each other are mapped by one call.
    ///
    /// # Errors
    ///
    /// [`SpaceError`]. Nothing is mapped then, but after [`SpaceError::StillMapped`].
    pub fn map(
        &mut self,
        pages: u32,
        access: MapFlags,
        mut frame_of: impl FnMut(u32) -> Option<Gfn>,
    ) -> Result<Bfn, SpaceError> {
        let first = self.bfns.allocate(pages.into(), 1, self.limit)?;
        let mut mapped = 0;
        let mut attempt = || {
            while mapped < pages {
                let bfn = first.checked_add(mapped.into());
                let (Some(bfn), Some(gfn)) = (bfn, frame_of(mapped)) else {
                    return Err(SpaceError::NoFrame { page: mapped });
                };
                let run = run_length(mapped, pages, gfn, &mut frame_of);
                let outcome = self.map_run(bfn, gfn, run, access);
                let done = match &outcome {
                    // Nobody knows, so all of it is unmapped.
                    Ok(()) | Err(MapError { cause: Error::BadReply(_), .. }) => run,
                    // What is in the way is somebody else's.
                    Err(error) => error.done,
                };
                mapped = mapped.saturating_add(done);
                outcome?;
            }
            Ok(())
        };
        let Err(cause) = attempt() else { return Ok(first) };
        // If even that fails, the range stays taken: nobody else is given it.
        self.clear(first, mapped).map_err(SpaceError::StillMapped)?;
        self.bfns.free(first, pages.into())?;
        Err(cause)
    }

    /// Unmaps what [`map`](Self::map) returned, as a whole. When it has returned, no device reaches
    /// the pages through it.
    ///
    /// # Errors
    ///
    /// [`SpaceError::StillMapped`]: devices may go on reaching the pages, so they must never be used
    /// for anything else; the bus frames stay taken. [`SpaceError::Bfns`] if no such range is
    /// mapped, and nothing happens.
    pub fn unmap(&mut self, bfn: Bfn, pages: u32) -> Result<(), SpaceError> {
        if !self.bfns.is_allocated(bfn, pages.into()) {
            return Err(BfnError::NotAllocated { first: bfn, pages: pages.into() }.into());
        }
        self.clear(bfn, pages).map_err(SpaceError::StillMapped)?;
        Ok(self.bfns.free(bfn, pages.into())?)
    }

    fn map_run(&self, bfn: Bfn, gfn: Gfn, pages: u32, access: MapFlags) -> Result<(), MapError> {
        retry(bfn, pages, |bfn, done| {
            let gfn = gfn.checked_add(done.into()).unwrap_or(Gfn::MAX);
            self.client.map(self.context, bfn, gfn, pages.saturating_sub(done), access)
        })
    }

    /// Unmaps a range that may have holes.
    fn clear(&self, bfn: Bfn, pages: u32) -> Result<(), MapError> {
        let mut from = 0;
        // Each turn is a page further, at least.
        while from < pages {
            let rest = pages.saturating_sub(from);
            let start = bfn.checked_add(from.into()).unwrap_or(Bfn::MAX);
            let outcome = retry(start, rest, |bfn, done| {
                self.client.unmap(self.context, bfn, rest.saturating_sub(done))
            });
            match outcome {
                Ok(()) => return Ok(()),
                Err(MapError { done, cause: Error::Refused(Errno::ENOENT) }) => {
                    from = from.saturating_add(done).saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How many pages from `page` on lie in frames that follow `gfn`, the frame of `page`.
fn run_length(
    page: u32,
    pages: u32,
    gfn: Gfn,
    frame_of: &mut impl FnMut(u32) -> Option<Gfn>,
) -> u32 {
    let mut length: u32 = 1;
    for next in page.saturating_add(1)..pages {
        let follows = gfn.checked_add(u64::from(length));
        if follows.is_none() || frame_of(next) != follows {
            break;
        }
        length = length.saturating_add(1);
    }
    length
}

/// Goes on with a call that was to be issued again, from where it got to. `call` is told the bus
/// frame and how many pages are done; the error says how many of all were.
fn retry(
    bfn: Bfn,
    pages: u32,
    mut call: impl FnMut(Bfn, u32) -> Result<u32, MapError>,
) -> Result<(), MapError> {
    let mut done: u32 = 0;
    let mut retries = RETRIES;
    loop {
        let start = bfn.checked_add(done.into()).unwrap_or(Bfn::MAX);
        let Err(error) = call(start, done) else { return Ok(()) };
        done = done.saturating_add(error.done).min(pages);
        if retries == 0 || !matches!(error.cause, Error::Retry(_)) {
            return Err(MapError { done, cause: error.cause });
        }
        retries = retries.saturating_sub(1);
        core::hint::spin_loop();
    }
}

/// The last bus frame of which a device that can put byte addresses up to `reach` on the bus
/// reaches every byte; `None` if there is none.
const fn last_whole_frame(reach: u64) -> Option<Bfn> {
    match reach.checked_add(1) {
        None => Some(Bfn(u64::MAX / PAGE_SIZE)),
        Some(end) => Bfn(end / PAGE_SIZE).checked_sub(1),
    }
}
