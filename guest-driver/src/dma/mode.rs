//! When what a device may reach is taken away from it again: three modes, chosen for each device.

use core::fmt::Debug;

use pviommu_abi::{Bfn, DomId};

use super::access::Access;
use super::buffer::Buffer;
use super::error::DmaError;
use super::kernel::Kernel;
use super::space::DmaSpace;
use crate::bfn::BfnRange;

/// When unmaps are made: [`Strict`], [`Deferred`], or `Reusing` with the feature `alloc`.
pub trait Mode: Sealed {}

/// Before the call returns that unmaps: the buffer is safe for anything else from then on.
#[derive(Debug)]
pub struct Strict;

/// Later, many at a time: the buffer is safe once the unmap was made, within the bounds of
/// [`Deferral`](super::Deferral). Until then a device that goes wrong can read and change it.
#[derive(Debug)]
pub struct Deferred;

impl Mode for Strict {}
impl Mode for Deferred {}

/// What a map is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub(super) limit: Bfn,
    pub(super) access: Access,
    /// The alignment in pages, where it matters.
    pub(super) align: Option<u64>,
    /// The domain whose pages they are, if it is another one.
    pub(super) owner: Option<DomId>,
}

/// Why a map failed.
#[derive(Debug)]
pub struct Failed {
    pub(super) cause: DmaError,
    /// Devices may reach a part of the buffer.
    pub(super) is_reachable: bool,
}

impl<E: Into<DmaError>> From<E> for Failed {
    fn from(cause: E) -> Self {
        Self { cause: cause.into(), is_reachable: false }
    }
}

/// What a mapping has until it is unmapped.
pub trait Hold: Debug {
    fn first(&self) -> Bfn;
    fn pages(&self) -> u32;
}

impl Hold for BfnRange {
    fn first(&self) -> Bfn {
        BfnRange::first(self)
    }

    fn pages(&self) -> u32 {
        u32::try_from(BfnRange::pages(self)).unwrap_or(u32::MAX)
    }
}

/// What only this crate implements and calls.
pub trait Sealed: Debug + 'static {
    /// What a mapping has.
    type Hold: Hold;

    fn map<K: Kernel, B: Buffer + ?Sized>(
        &self,
        space: &DmaSpace<'_, K>,
        buffer: &B,
        request: Request,
    ) -> Result<Self::Hold, Failed>;

    /// Unmaps and flushes, in every mode. Gives back what is still mapped.
    fn unmap<K: Kernel>(
        space: &DmaSpace<'_, K>,
        hold: Self::Hold,
    ) -> Result<(), (Self::Hold, DmaError)>;

    /// The device goes: nothing stays mapped for it.
    fn end<K: Kernel>(&self, _space: &DmaSpace<'_, K>) {}
}

macro_rules! plain {
    ($($Mode:ty),*) => { $(
        impl Sealed for $Mode {
            type Hold = BfnRange;

            fn map<K: Kernel, B: Buffer + ?Sized>(
                &self,
                space: &DmaSpace<'_, K>,
                buffer: &B,
                request: Request,
            ) -> Result<BfnRange, Failed> {
                space.map_buffer(buffer, request)
            }

            fn unmap<K: Kernel>(
                space: &DmaSpace<'_, K>,
                range: BfnRange,
            ) -> Result<(), (BfnRange, DmaError)> {
                space.unmap_now(range)
            }
        }
    )* };
}

plain!(Strict, Deferred);
