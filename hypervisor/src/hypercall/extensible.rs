//! Arguments that can grow: those of the subops from 0x40 on.
//!
//! Each begins with its size as the caller knows it. A shorter one reads as zeros from its end on,
//! and only the caller's bytes are written back; a longer one must be zero where it is not known.

use pviommu_abi::{DomId, Errno, GuestPtr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::platform::GuestMemory;

/// Bytes of `size` and `flags`, which every argument has.
const HEAD: usize = 8;

/// Longest argument that is looked at.
const MAX_SIZE: usize = 4096;

/// An argument as its caller knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extensible<T> {
    pub(crate) value: T,
    /// Bytes of it that the caller has.
    known: usize,
}

impl<T: FromBytes + IntoBytes + Immutable> Extensible<T> {
    /// Reads an argument, each byte once.
    ///
    /// # Errors
    /// `-EFAULT`: the pointer is bad. `-EINVAL`: it says it is shorter than 8 bytes or longer than
    /// 4096, or it holds something where nothing is known.
    pub(crate) fn read(
        memory: &impl GuestMemory,
        domain: DomId,
        from: GuestPtr,
    ) -> Result<Self, Errno> {
        let mut value = T::new_zeroed();
        let (head, rest) = value.as_mut_bytes().split_at_mut_checked(HEAD).ok_or(Errno::EINVAL)?;
        memory.copy_in(domain, from, head).map_err(|_| Errno::EFAULT)?;
        let size = u32::read_from_prefix(head).map_err(|_| Errno::EINVAL)?.0;
        let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
        if !(HEAD..=MAX_SIZE).contains(&size) {
            return Err(Errno::EINVAL);
        }
        let known = size.min(size_of::<T>());
        let rest = rest.get_mut(..known.saturating_sub(HEAD)).ok_or(Errno::EINVAL)?;
        memory.copy_in(domain, offset(from, HEAD)?, rest).map_err(|_| Errno::EFAULT)?;
        let mut at = known;
        while at < size {
            let mut unknown = [0u8; 64];
            let bytes = size.saturating_sub(at).min(unknown.len());
            let unknown = unknown.get_mut(..bytes).ok_or(Errno::EINVAL)?;
            memory.copy_in(domain, offset(from, at)?, unknown).map_err(|_| Errno::EFAULT)?;
            if unknown.iter().any(|byte| *byte != 0) {
                return Err(Errno::EINVAL);
            }
            at = at.saturating_add(bytes);
        }
        Ok(Self { value, known })
    }

    /// True if the caller has the first `bytes` of it.
    pub(crate) fn reaches(&self, bytes: usize) -> bool {
        self.known >= bytes
    }

    /// Writes back what the caller has room for.
    ///
    /// # Errors
    /// `-EFAULT`: the pointer is bad.
    pub(crate) fn write(
        &self,
        memory: &impl GuestMemory,
        domain: DomId,
        to: GuestPtr,
    ) -> Result<(), Errno> {
        let bytes = self.value.as_bytes().get(..self.known).unwrap_or_default();
        memory.copy_out(domain, to, bytes).map_err(|_| Errno::EFAULT)
    }
}

/// The address `bytes` after `from`.
///
/// # Errors
/// `-EFAULT`: there is none.
pub(crate) fn offset(from: GuestPtr, bytes: usize) -> Result<GuestPtr, Errno> {
    let bytes = u64::try_from(bytes).map_err(|_| Errno::EFAULT)?;
    from.0.checked_add(bytes).map(GuestPtr).ok_or(Errno::EFAULT)
}
