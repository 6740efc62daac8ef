//! Who may have a device, and in which context.

use pviommu_abi::{ContextId, DomId, Errno};

use crate::context::State;

/// Checks that a device may be given to a domain.
///
/// # Errors
/// `-EBADF`: it is broken. `-EBUSY`: it has an owner.
pub(crate) fn may_be_given(owner: Option<DomId>, broken: bool) -> Result<(), Errno> {
    match (broken, owner) {
        (true, _) => Err(Errno::EBADF),
        (false, Some(_)) => Err(Errno::EBUSY),
        (false, None) => Ok(()),
    }
}

/// Checks that `domain` may move a device to the context `to`, which is in state `target`.
///
/// # Errors
/// `-ENODEV`: it is not the domain's. `-ENOENT`: there is no such context. `-EINVAL`: the context
/// is being freed.
pub(crate) fn may_be_moved(
    domain: DomId,
    owner: Option<DomId>,
    to: ContextId,
    target: Option<State>,
) -> Result<(), Errno> {
    if owner != Some(domain) {
        return Err(Errno::ENODEV);
    }
    match target {
        _ if to == ContextId::DEFAULT => Ok(()),
        Some(State::Live) => Ok(()),
        Some(State::Dying) => Err(Errno::EINVAL),
        Some(State::Free) | None => Err(Errno::ENOENT),
    }
}
