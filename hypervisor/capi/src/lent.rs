//! Memory that C lends for an object, and how it is cut into what the object consists of.
#![expect(unsafe_code, reason = "what is to be an object is bytes before")]

use core::{marker::PhantomData, mem::MaybeUninit};

use pviommu_abi::Errno;

/// The alignment of memory that is lent.
pub const ALIGNMENT: usize = 128;

/// Memory that the embedder lends for an object.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Lent(*mut MaybeUninit<u8>);

impl Lent {
    /// What C hands over.
    ///
    /// # Safety
    ///
    /// `memory` is null or points to as many bytes as the function it is given to says, which are the object's
    /// alone for as long as it is used.
    #[must_use]
    pub const unsafe fn new(memory: *mut u8) -> Self {
        Self(memory.cast())
    }

    /// The memory, to be cut up.
    ///
    /// # Errors
    /// `-EINVAL`: null or not aligned. `-ENOMEM`: fewer bytes than are `needed`.
    pub(crate) fn cut(self, bytes: usize, needed: usize) -> Result<Cutter, Errno> {
        if self.0.is_null() || !self.0.addr().is_multiple_of(ALIGNMENT) {
            return Err(Errno::EINVAL);
        }
        if bytes < needed || isize::try_from(bytes).is_err() {
            return Err(Errno::ENOMEM);
        }
        Ok(Cutter { at: self.0, left: bytes, _memory: PhantomData })
    }
}

/// Pieces of memory that is lent, one after the other.
pub(crate) struct Cutter {
    at: *mut MaybeUninit<u8>,
    left: usize,
    _memory: PhantomData<&'static mut [MaybeUninit<u8>]>,
}

impl Cutter {
    /// Room for `count` values, each made by `make` when its turn comes; that may cut, too, from what follows.
    ///
    /// # Errors
    /// `-ENOMEM`: there is no room; or that of `make`.
    pub(crate) fn apart<T>(
        &mut self,
        count: usize,
        mut make: impl FnMut(usize, &mut Self) -> Result<T, Errno>,
    ) -> Result<&'static mut [T], Errno> {
        const { assert!(align_of::<T>() <= ALIGNMENT, "memory that is lent is aligned for it") };
        let size = room_for::<T>(count).filter(|it| *it <= self.left).ok_or(Errno::ENOMEM)?;
        let first = self.at.cast::<T>();
        // SAFETY: `size` bytes are left.
        self.at = unsafe { self.at.add(size) };
        self.left = self.left.saturating_sub(size);
        for place in 0..count {
            let value = make(place, self)?;
            // SAFETY: `count` values are within `size` bytes.
            let slot = unsafe { first.add(place) };
            // SAFETY: as above, and aligned, because `at` always is; the object's alone (promise of `Lent`).
            unsafe { slot.write(value) };
        }
        // SAFETY: all were written, and nobody else is given these bytes.
        Ok(unsafe { core::slice::from_raw_parts_mut(first, count) })
    }

    /// Room for `count` values.
    ///
    /// # Errors
    /// As of [`apart`](Self::apart).
    pub(crate) fn many<T>(
        &mut self,
        count: usize,
        mut make: impl FnMut(usize) -> Result<T, Errno>,
    ) -> Result<&'static mut [T], Errno> {
        self.apart(count, |place, _| make(place))
    }

    /// Room for one value.
    ///
    /// # Errors
    /// `-ENOMEM`: there is no room.
    pub(crate) fn one<T>(&mut self, value: T) -> Result<&'static mut T, Errno> {
        let mut value = Some(value);
        let made = self.many(1, |_| value.take().ok_or(Errno::EINVAL))?;
        made.first_mut().ok_or(Errno::ENOMEM)
    }
}

/// Bytes that [`Cutter::many`] takes for `count` values.
pub(crate) fn room_for<T>(count: usize) -> Option<usize> {
    let bytes = size_of::<T>().checked_mul(count)?;
    bytes.checked_next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C, align(128))]
    struct Memory([MaybeUninit<u8>; 512]);

    /// Runs `test` with so many bytes, of which it has to give a reason for what is left.
    fn with(bytes: usize, needed: usize, test: impl FnOnce(Result<Cutter, Errno>)) {
        let mut memory = Memory([MaybeUninit::uninit(); 512]);
        // SAFETY: it lives until the test is over, and is used for nothing else.
        let lent = unsafe { Lent::new(memory.0.as_mut_ptr().cast()) };
        test(lent.cut(bytes, needed));
    }

    #[test]
    fn pieces_do_not_overlap_and_are_as_they_were_made() {
        with(512, 512, |memory| {
            let Ok(mut memory) = memory else { panic!("there is room") };
            let Ok(numbers) = memory.many(17, |place| Ok(place as u64)) else { panic!("17 fit") };
            let Ok(byte) = memory.one(7u8) else { panic!("one fits") };
            numbers.fill(u64::MAX);
            assert_eq!((*byte, numbers.len()), (7, 17));
            assert_eq!(memory.many(17, |_| Ok(0u64)).err(), Some(Errno::ENOMEM));
            assert!(memory.many(0, |_| Err::<u64, _>(Errno::EIO)).is_ok());
        });
    }

    #[test]
    fn what_is_made_within_a_piece_comes_after_it() {
        with(512, 512, |memory| {
            let Ok(mut memory) = memory else { panic!("there is room") };
            let pairs = memory.apart(2, |place, rest| rest.one(place as u32).map(|it| &*it));
            let Ok(pairs) = pairs else { panic!("two and their own fit") };
            assert_eq!(pairs.iter().map(|it| **it).collect::<Vec<_>>(), [0, 1]);
            assert_eq!(memory.one(0u8).err(), None);
            assert_eq!(memory.one(0u8).err(), Some(Errno::ENOMEM));
        });
    }

    #[test]
    fn memory_that_does_not_do_is_refused() {
        with(511, 512, |memory| assert_eq!(memory.err(), Some(Errno::ENOMEM)));
        with(usize::MAX, 512, |memory| assert_eq!(memory.err(), Some(Errno::ENOMEM)));
        let mut memory = Memory([MaybeUninit::uninit(); 512]);
        for place in [core::ptr::null_mut(), memory.0.as_mut_ptr().wrapping_add(8).cast()] {
            // SAFETY: it is not used.
            let lent = unsafe { Lent::new(place) };
            assert_eq!(lent.cut(256, 256).err(), Some(Errno::EINVAL));
        }
    }

    #[test]
    fn room_that_cannot_be_counted_is_none() {
        assert_eq!((room_for::<u64>(0), room_for::<u64>(17)), (Some(0), Some(256)));
        assert_eq!(room_for::<u64>(usize::MAX / 8), None);
    }
}
