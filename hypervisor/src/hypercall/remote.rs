//! `remote_cmd`: one call inside another.

use pviommu_abi::{DomId, Errno, GuestPtr, Subop};

use super::{copy, serve};
use crate::{
    context::{End, Session},
    domain::{DomainIommu, Role},
    machine::Scratch,
    platform::Platform,
};

/// The hardware domain acts for another one. The inner argument is in the caller's
/// memory, and read once, too.
pub(super) fn serve_for_another<P: Platform>(
    session: &Session<'_, P>,
    arg: GuestPtr,
    scratch: &mut Scratch,
) -> Result<End, Errno> {
    let caller = session.domain;
    let command = copy::remote_command(session.platform(), caller.id(), arg)?;
    if caller.role() != Role::Hardware {
        return Err(Errno::EPERM);
    }
    let subop = Subop(u32::from(command.subop));
    let mut serve_for = |target: &DomainIommu<'_>| {
        if subop == Subop::REMOTE_CMD {
            return Err(Errno::EINVAL);
        }
        let session = Session { iommu: session.iommu, domain: target, gate: session.gate };
        serve(&session, caller.id(), subop, command.arg, scratch)
    };
    if command.domid == DomId::SELF || command.domid == caller.id() {
        return serve_for(caller);
    }
    let mut end = Err(Errno::ENOENT);
    let found =
        session.platform().with_domain(command.domid, &mut |target| end = serve_for(target));
    if found { end } else { Err(Errno::ENOENT) }
}
