//! Calls for another domain: `remote_cmd`, and arguments that name the domain they are for.

use pviommu_abi::{DomId, Errno, GuestPtr, Subop};

use super::{copy, has_service, serve};
use crate::{
    context::{End, Session},
    domain::{DomainIommu, Role},
    machine::CallRoom,
    platform::Platform,
};

/// The hardware domain acts for another one. The inner argument is in the caller's
/// memory, and read once, too.
pub(super) fn serve_for_another<P: Platform>(
    session: &Session<'_, P>,
    arg: GuestPtr,
    room: &mut CallRoom,
) -> Result<End, Errno> {
    let caller = session.domain;
    let command = copy::remote_command(session.platform(), caller.id(), arg)?;
    if caller.role() != Role::Hardware {
        return Err(Errno::EPERM);
    }
    if caller.is_dying() {
        return Err(Errno::ENODEV);
    }
    let subop = Subop(u32::from(command.subop));
    let mut serve_for = |target: &DomainIommu<'_>| {
        if subop == Subop::REMOTE_CMD {
            return Err(Errno::EINVAL);
        }
        if subop.is_extension() {
            // They name the domain they are for themselves.
            return Err(Errno::EOPNOTSUPP);
        }
        let session = Session { iommu: session.iommu, domain: target, gate: session.gate };
        serve(&session, caller.id(), subop, command.arg, room)
    };
    if command.domid == DomId::SELF || command.domid == caller.id() {
        return serve_for(caller);
    }
    let mut end = Err(Errno::ENOENT);
    let found =
        session.platform().with_domain(command.domid, &mut |target| end = serve_for(target));
    if found { end } else { Err(Errno::ENOENT) }
}

/// Has `act` work on the domain that `target` names: the session's own, or another one if the
/// hardware domain asks.
///
/// # Errors
/// `-EPERM`: the caller may not. `-ESRCH`: there is no such domain. `-ENODEV`: it is given nothing.
pub(super) fn with_target<P: Platform>(
    session: &Session<'_, P>,
    target: DomId,
    mut act: impl FnMut(&Session<'_, P>) -> Result<End, Errno>,
) -> Result<End, Errno> {
    if target == DomId::SELF || target == session.domain.id() {
        return act(session);
    }
    if session.domain.role() != Role::Hardware {
        return Err(Errno::EPERM);
    }
    let mut end = Err(Errno::ESRCH);
    session.platform().with_domain(target, &mut |domain| {
        let session = Session { iommu: session.iommu, domain, gate: session.gate };
        end = has_service(domain).and_then(|()| act(&session));
    });
    end
}
