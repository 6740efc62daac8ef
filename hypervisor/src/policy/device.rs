//! Who may have a device, and in which context.

use pviommu_abi::{ContextId, DomId, Errno};

use crate::{
    context::State,
    domain::{Limits, OptIns, Role},
    platform::{TableShape, UnitFacts},
};

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

/// Checks that a unit may be pointed at a table of this shape.
///
/// # Errors
/// `-EXDEV`: it cannot walk it.
pub(crate) fn may_walk(unit: &UnitFacts, table: TableShape) -> Result<(), Errno> {
    if unit.walks(table) { Ok(()) } else { Err(Errno::EXDEV) }
}

/// Checks that one more of a domain's contexts may take a tag of a unit, of which they have `tags`. The
/// default context is not counted: what is in it can always be there.
///
/// # Errors
/// `-ENOSPC`: they have as many as they may.
pub(crate) fn may_take_tag(limits: &Limits, tags: u32) -> Result<(), Errno> {
    if tags < u32::from(limits.max_tags) { Ok(()) } else { Err(Errno::ENOSPC) }
}

/// Checks that a domain may have a device whose firmware needs memory of its own, if this one's does.
///
/// # Errors
/// `-EPERM`: the domain is an ordinary guest, and the embedder has not taken that risk.
pub(crate) fn may_have_direct(role: Role, opt_ins: OptIns, direct: bool) -> Result<(), Errno> {
    let allowed = role == Role::Hardware || opt_ins.contains(OptIns::DIRECT_RANGES);
    if direct && !allowed { Err(Errno::EPERM) } else { Ok(()) }
}

/// Checks that `domain` may move a device to the context `to`, which is in state `target`.
///
/// # Errors
/// `-ENODEV`: it is not the domain's. `-ENOENT`: there is no such context. `-EINVAL`: the context
/// is being freed. `-EIO`: the device is broken.
pub(crate) fn may_be_moved(
    domain: DomId,
    (owner, broken): (Option<DomId>, bool),
    to: ContextId,
    target: Option<State>,
) -> Result<(), Errno> {
    if owner != Some(domain) {
        return Err(Errno::ENODEV);
    }
    if broken {
        return Err(Errno::EIO);
    }
    match target {
        _ if to == ContextId::DEFAULT => Ok(()),
        Some(State::Live) => Ok(()),
        Some(State::Dying) => Err(Errno::EINVAL),
        Some(State::Free | State::Building) | None => Err(Errno::ENOENT),
    }
}
