//! The hypercall, on one page.
//!
//! ```text
//!  copy in (once) → decode → policy hook → validate → apply → flush → release → copy out → status
//!      bytes        Command                 plan       table   IOTLB   references  results
//! ```
//!
//! After decode there are only types that cannot be wrong; after validate, nothing that the guest
//! chose is trusted without having been checked against the facts; nothing is released before
//! its flush; and the argument is never read a second time (INV-50).

mod caller;
mod command;
mod copy;
mod decode;
mod remote;
mod serve;

pub use caller::{Caller, Outcome, Width};
pub(crate) use command::{Command, MapRequest, UnmapRequest};

use pviommu_abi::{DomId, Errno, GuestPtr, PciDevice, Subop};

use crate::{
    context::{End, Session},
    domain::DomainIommu,
    machine::{Iommu, Scratch},
    platform::{Operation, Platform},
};
use copy::Argument;
use decode::decode;

/// The only way in for a guest.
pub(crate) fn iommu_op<P: Platform>(
    iommu: &Iommu<'_, P>,
    domain: &DomainIommu<'_>,
    caller: Caller,
    subop: u64,
    arg: u64,
) -> Outcome {
    let Some(cpu) = iommu.cpu(caller.cpu) else { return Outcome::Done(Errno::EINVAL.to_ret()) };
    if caller.width == Width::Bits32 {
        return Outcome::Done(Errno::EOPNOTSUPP.to_ret());
    }
    let scratch = &mut cpu.claim();
    // The subop is an `unsigned int`: what is above it in the register is not looked at.
    let subop = Subop(u32::try_from(subop & 0xffff_ffff).unwrap_or(u32::MAX));
    let arg = GuestPtr(arg);
    let session = iommu.session(domain, cpu);
    let end = if subop == Subop::REMOTE_CMD {
        remote::serve_for_another(&session, arg, scratch)
    } else {
        serve(&session, domain.id(), subop, arg, scratch)
    };
    match end {
        Ok(End::Finished) => Outcome::Done(0),
        Ok(End::Yield) => Outcome::Continue,
        Ok(End::Failed(errno)) | Err(errno) => Outcome::Done(errno.to_ret()),
    }
}

/// One call from its bytes to its status, on the contexts of the session's domain. `caller` is
/// whose memory `arg` points into.
fn serve<P: Platform>(
    session: &Session<'_, P>,
    caller: DomId,
    subop: Subop,
    arg: GuestPtr,
    scratch: &mut Scratch,
) -> Result<End, Errno> {
    if session.domain.limits().max_contexts == 0 || session.domain.is_dying() {
        return Err(Errno::ENODEV);
    }
    let mut argument = Argument::copy_in(session.platform(), caller, subop, arg)?;
    let command = decode(&argument, session.domain)?;
    allowed(session, caller, subop, &command)?;
    let effect = session.run(command, scratch);
    if argument.record(&effect)
        && let Err(fault) = argument.copy_out(session.platform(), caller, arg)
    {
        session.undo(&effect, scratch);
        return Err(effect.error().unwrap_or(fault));
    }
    Ok(effect.end())
}

/// Asks the embedder's policy, before anything has happened (INV-58).
fn allowed<P: Platform>(
    session: &Session<'_, P>,
    caller: DomId,
    subop: Subop,
    command: &Command,
) -> Result<(), Errno> {
    let target = session.domain.id();
    let device: Option<PciDevice> = match command {
        Command::Reattach { device, .. } => session.platform().resolve(target, *device),
        _ => None,
    };
    let operation = Operation { caller, target, subop, device };
    session.platform().allow(&operation).map_err(|_| Errno::EPERM)
}
