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

mod batch;
mod caller;
mod command;
mod contexts;
mod copy;
mod decode;
mod device_memory;
mod element;
mod extensible;
mod faults;
mod query;
mod remote;
mod reserved;
mod run_element;
mod run_singles;
mod serve;

pub use caller::{Caller, Width};

use pviommu_abi::{DomId, Errno, GuestPtr, PciDevice, Subop};

use crate::{
    context::{End, Session},
    domain::DomainIommu,
    machine::{CallRoom, Iommu, Outcome},
    platform::{Operation, Platform},
};
use command::Command;
use copy::Argument;

impl<P: Platform> Iommu<'_, P> {
    /// Serves one `iommu_op` hypercall of `domain`: the only way in for a guest.
    ///
    /// `subop` and `arg` are the registers as the guest left them. Never panics, whatever they and
    /// the memory they name hold.
    pub fn iommu_op(
        &self,
        domain: &DomainIommu<'_>,
        caller: Caller,
        subop: u64,
        arg: u64,
    ) -> Outcome {
        let Some(cpu) = self.cpu(caller.cpu) else { return Outcome::failed(Errno::EINVAL) };
        if caller.width == Width::Bits32 {
            return Outcome::failed(Errno::EOPNOTSUPP);
        }
        // The subop is an `unsigned int`: what is above it in the register is not looked at.
        let subop = Subop(u32::try_from(subop & 0xffff_ffff).unwrap_or(u32::MAX));
        let arg = GuestPtr(arg);
        let session = self.session(domain, cpu);
        self.with_room(cpu, |room| {
            let end = if subop == Subop::REMOTE_CMD {
                remote::serve_for_another(&session, arg, room)
            } else {
                serve(&session, domain.id(), subop, arg, room)
            };
            end.unwrap_or_else(End::Failed).into()
        })
    }
}

/// One call from its bytes to its status. `caller` is whose memory `arg` points into; whose contexts
/// it is about, the argument says.
fn serve<P: Platform>(
    session: &Session<'_, P>,
    caller: DomId,
    subop: Subop,
    arg: GuestPtr,
    room: &mut CallRoom,
) -> Result<End, Errno> {
    has_service(session.domain)?;
    let mut argument = Argument::None;
    argument.copy_in(session.platform(), caller, subop, arg)?;
    remote::with_target(session, argument.target(), |session| {
        let mut command = Command::Noop;
        command.decode_from(&argument, session.domain)?;
        allowed(session, caller, subop, &command)?;
        if session.has_to_wait(&command) {
            return Ok(End::Yield);
        }
        let effect = session.run(command, caller, room);
        if argument.record(&effect)
            && let Err(fault) = argument.copy_out(session.platform(), caller, arg)
        {
            session.undo(&effect, &mut room.edit);
            return Err(effect.error().unwrap_or(fault));
        }
        Ok(effect.end())
    })
}

/// `-ENODEV` for a domain that is given nothing, or not any more (INV-61).
#[inline]
fn has_service(domain: &DomainIommu<'_>) -> Result<(), Errno> {
    let none = domain.limits().max_contexts == 0 || domain.is_dying();
    if none { Err(Errno::ENODEV) } else { Ok(()) }
}

/// Asks the embedder's policy, before anything has happened (INV-58).
#[inline(never)]
fn allowed<P: Platform>(
    session: &Session<'_, P>,
    caller: DomId,
    subop: Subop,
    command: &Command,
) -> Result<(), Errno> {
    let target = session.domain.id();
    let device: Option<PciDevice> =
        command.device().and_then(|name| session.platform().resolve(target, name));
    let owner = command.owner().filter(|owner| *owner != target);
    let operation = Operation { caller, target, owner, subop, device };
    session.platform().allow(&operation).map_err(|_| Errno::EPERM)
}
