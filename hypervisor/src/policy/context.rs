//! When contexts may be had, and given back.

use pviommu_abi::Errno;

use crate::{context::State, domain::Limits};

/// Checks a guest's wish for `contexts` contexts and 2^`arena_order` table frames; the number of
/// table frames it gets.
///
/// `grantable` is the most contexts the domain can be given, `granted` what it has already.
///
/// # Errors
/// `-EACCES`: it was asked before. `-E2BIG`: too many contexts. `-EINVAL`: none. `-ENOMEM`: more
/// table frames than its limit.
pub(crate) fn may_init(
    limits: &Limits,
    grantable: u32,
    granted: u32,
    contexts: u32,
    arena_order: u32,
) -> Result<u32, Errno> {
    if granted != 0 {
        return Err(Errno::EACCES);
    }
    if contexts > grantable {
        return Err(Errno::E2BIG);
    }
    if contexts == 0 {
        return Err(Errno::EINVAL);
    }
    if arena_order > u32::from(limits.max_arena_order) {
        return Err(Errno::ENOMEM);
    }
    1u32.checked_shl(arena_order).ok_or(Errno::ENOMEM)
}

/// Checks that a context may be freed. `attached`: devices are in it and are not to be moved.
///
/// # Errors
/// `-ENOENT`: there is no such context. `-EBUSY`: devices are attached.
pub(crate) fn may_be_freed(state: Option<State>, attached: bool) -> Result<(), Errno> {
    match state {
        None | Some(State::Free | State::Building) => Err(Errno::ENOENT),
        Some(State::Live) if attached => Err(Errno::EBUSY),
        // A dying one: the call goes on where it was interrupted.
        Some(State::Live | State::Dying) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D2, D3: what the guest asks for is bounded by policy, and no width cuts it off.
    #[test]
    fn a_wish_beyond_the_limits_is_refused() {
        let limits = Limits::default();
        let init = |contexts, order| may_init(&limits, 128, 0, contexts, order);
        assert_eq!(init(128, 12), Ok(4096));
        assert_eq!(init(1, 0), Ok(1));
        for contexts in [129, 0xffff, 0x1_0000, 0x1_0001, u32::MAX] {
            assert_eq!(init(contexts, 12), Err(Errno::E2BIG));
        }
        assert_eq!(init(0, 12), Err(Errno::EINVAL));
        for order in [13, 31, 32, 64, u32::MAX] {
            assert_eq!(init(128, order), Err(Errno::ENOMEM));
        }
        assert_eq!(may_init(&limits, 128, 128, 1, 0), Err(Errno::EACCES));
    }
}
