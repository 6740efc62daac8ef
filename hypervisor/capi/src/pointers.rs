//! Pointers as C hands them over: what can be known to be wrong with one is an error, and the rest is the
//! caller's promise.
//!
//! A pointer is made here by C only, or by [`new`](Shared::new), which is unsafe: so reading through it is
//! safe to the rest of the crate.
#![expect(unsafe_code, reason = "C promises what its pointers point to")]

use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_abi::Errno;

/// An object that is opaque to C: it begins with a word by which it is known.
///
/// # Safety
///
/// The type is `repr(C)` and its first field is the word, an [`AtomicU64`].
pub unsafe trait Object {
    /// The word of an object that is in use.
    const MAGIC: u64;
}

/// A pointer to an object, or null.
#[repr(transparent)]
#[derive(Debug)]
pub struct Shared<T>(*const T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

impl<T: Object> Shared<T> {
    /// What C hands over.
    ///
    /// # Safety
    ///
    /// `object` is null, or points to memory of the size of `T` that stays valid for as long as the embedder
    /// uses the object; what the library made there is changed by the library only.
    #[must_use]
    pub const unsafe fn new(object: *const T) -> Self {
        Self(object)
    }

    /// No object.
    #[must_use]
    pub const fn null() -> Self {
        Self(core::ptr::null())
    }

    /// True if there is none.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The object.
    ///
    /// # Errors
    /// `-EINVAL`: null, not aligned, or no such object.
    pub(crate) fn open(self) -> Result<&'static T, Errno> {
        if self.0.is_null() || !self.0.is_aligned() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: aligned, and valid memory (promise of `new`), which begins with an atomic word.
        let magic = unsafe { &*self.0.cast::<AtomicU64>() };
        if magic.load(Ordering::Acquire) != T::MAGIC {
            return Err(Errno::EINVAL);
        }
        // SAFETY: as above, and the word says that it was made; nothing but atomics and locks changes it.
        Ok(unsafe { &*self.0 })
    }
}

/// A pointer to a structure, or to several, that C has filled in.
#[repr(transparent)]
#[derive(Debug)]
pub struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T: Copy + 'static> In<T> {
    /// What C hands over.
    ///
    /// # Safety
    ///
    /// `from` is null or points to as many values as the function it is given to says, which nobody changes
    /// during the call.
    #[must_use]
    pub const unsafe fn new(from: *const T) -> Self {
        Self(from)
    }

    /// The one value, or `None` for null.
    ///
    /// # Errors
    /// `-EINVAL`: not aligned.
    pub(crate) fn optional(self) -> Result<Option<T>, Errno> {
        if self.0.is_null() { Ok(None) } else { self.read().map(Some) }
    }

    /// The one value.
    ///
    /// # Errors
    /// `-EINVAL`: null or not aligned.
    pub(crate) fn read(self) -> Result<T, Errno> {
        if self.0.is_null() || !self.0.is_aligned() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: aligned and valid (promise of `new`).
        Ok(unsafe { self.0.read() })
    }

    /// `count` values; null is as good as any for none. Not to be kept beyond the call.
    ///
    /// # Errors
    /// `-EINVAL`: null, not aligned, or more than can be in memory.
    pub(crate) fn all<'c>(self, count: u32) -> Result<&'c [T], Errno> {
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        if count == 0 {
            return Ok(&[]);
        }
        let bytes = count.checked_mul(size_of::<T>()).filter(|it| isize::try_from(*it).is_ok());
        if self.0.is_null() || !self.0.is_aligned() || bytes.is_none() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: aligned, valid and unchanged during the call (promise of `new`), and not longer than half
        // of the address space.
        Ok(unsafe { core::slice::from_raw_parts(self.0, count) })
    }
}

/// A pointer to a place for a result, or to what a call goes on from.
#[repr(transparent)]
#[derive(Debug)]
pub struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T: Copy> Out<T> {
    /// What C hands over.
    ///
    /// # Safety
    ///
    /// `to` is null or points to a value that nobody else uses during the call; it is initialised where the
    /// function it is given to reads it.
    #[must_use]
    pub const unsafe fn new(to: *mut T) -> Self {
        Self(to)
    }

    /// True if no result is wanted.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Fails if there is no place there.
    ///
    /// # Errors
    /// `-EINVAL`: null or not aligned.
    pub(crate) fn check(self) -> Result<(), Errno> {
        if self.0.is_null() || !self.0.is_aligned() { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// The place after this one; of a place of a text that is not its last.
    pub(crate) fn after(self) -> Self {
        // No access, and not beyond what `new` promises; if it were, it would only be a number.
        Self(self.0.wrapping_add(1))
    }

    /// Stores the result.
    ///
    /// # Errors
    /// `-EINVAL`: null or not aligned; nothing is stored.
    pub(crate) fn write(self, value: T) -> Result<(), Errno> {
        self.check()?;
        // SAFETY: aligned and valid (promise of `new`).
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// What is there.
    ///
    /// # Errors
    /// `-EINVAL`: null or not aligned.
    pub(crate) fn read(self) -> Result<T, Errno> {
        self.check()?;
        // SAFETY: aligned, valid and initialised (promise of `new`).
        Ok(unsafe { self.0.read() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Thing {
        magic: AtomicU64,
        value: u32,
    }

    // SAFETY: as it says.
    unsafe impl Object for Thing {
        const MAGIC: u64 = 0x7468_696e_6721;
    }

    #[test]
    fn an_object_is_known_by_its_word_for_as_long_as_it_has_it() {
        let thing = Thing { magic: AtomicU64::new(Thing::MAGIC), value: 7 };
        let place = &raw const thing;
        // SAFETY: it is there until the end of the test.
        let shared = unsafe { Shared::new(place) };
        assert_eq!(shared.open().map(|it| it.value), Ok(7));
        thing.magic.store(0, Ordering::Release);
        assert!(shared.open().is_err());
        thing.magic.store(Thing::MAGIC, Ordering::Release);
        // SAFETY: nothing is read through it, because it is not aligned.
        let beside = unsafe { Shared::new(place.wrapping_byte_add(4)) };
        assert!(beside.open().is_err() && Shared::<Thing>::null().open().is_err());
    }

    #[test]
    fn lists_are_read_as_they_are_and_results_stored_where_they_belong() {
        let list = [1u32, 2, 3];
        // SAFETY: there are three.
        let from = unsafe { In::new(list.as_ptr()) };
        assert_eq!(from.all(3), Ok(&list[..]));
        assert_eq!((from.read(), from.optional()), (Ok(1), Ok(Some(1))));
        assert_eq!(from.all(0), Ok(&[][..]));
        // SAFETY: nothing is read through it, because it is not aligned.
        let beside = unsafe { In::new(list.as_ptr().wrapping_byte_add(1)) };
        // SAFETY: nothing is read through it.
        let nothing = unsafe { In::new(core::ptr::null::<u32>()) };
        for wrong in [beside, nothing] {
            assert!(wrong.read().is_err() && wrong.all(1).is_err());
        }
        let mut places = [0u32; 2];
        // SAFETY: two places, which nobody else uses.
        let to = unsafe { Out::new(places.as_mut_ptr()) };
        assert_eq!((to.write(5), to.after().write(6)), (Ok(()), Ok(())));
        assert_eq!((to.read(), to.after().read()), (Ok(5), Ok(6)));
        // SAFETY: nothing is stored through it.
        let nowhere = unsafe { Out::<u32>::new(core::ptr::null_mut()) };
        assert!(nowhere.is_null() && nowhere.write(1).is_err() && nowhere.read().is_err());
        assert_eq!(places, [5, 6]);
    }
}
