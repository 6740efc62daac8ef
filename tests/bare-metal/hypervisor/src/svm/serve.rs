//! What a guest asks for, until it ends.
//!
//! The hypercalls beside `iommu_op` are two of Xen's, with as much of their arguments as our guest uses:
//! `console_io` to tell a line, and `sched_op` to end.

use core::sync::atomic::{AtomicU32, Ordering};

use pviommu_hypervisor::{
    Outcome,
    abi::{Errno, GuestPtr, HYPERCALL_IOMMU_OP},
    platform::GuestMemory,
};
use spin::Mutex;

use super::{
    config::Config,
    switch::Enabled,
    vcpu::{Exit, Vcpu},
};
use crate::{
    domains::Domain,
    glue::{Hypervisor, Registers},
};

const IOMMU_OP: u64 = HYPERCALL_IOMMU_OP as u64;
const CONSOLE_IO: u64 = 18;
const CONSOLE_WRITE: u64 = 0;
const SCHED_OP: u64 = 29;
const SHUTDOWN: u64 = 2;
/// Longest line that is told.
const LINE: usize = 256;

/// How a virtual processor ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The domain said that it ends, and why: 0 if all went well.
    Shutdown(u32),
    /// It waits for an interrupt, and there are none.
    Halted,
    /// It did what it may not, and was ended.
    Killed(Exit),
}

/// The world around the virtual processors of one guest.
pub struct World<'w> {
    /// The hypervisor.
    pub hypervisor: &'w Hypervisor,
    /// Whose guest it is.
    pub domain: &'w Domain,
    /// Its configuration space.
    pub config: Mutex<Config>,
    /// Is told each line of the guest.
    pub line: &'w (dyn Fn(&str) + Sync),
    /// How many hypercalls gave way, and were made again.
    pub again: AtomicU32,
}

impl World<'_> {
    /// Runs a virtual processor on this one, which makes its hypercalls as `cpu`, until it ends.
    pub fn serve(&self, vcpu: &mut Vcpu<'_>, processor: &Enabled, cpu: usize) -> End {
        loop {
            match vcpu.run(processor) {
                Exit::Hypercall => {
                    if let Some(end) = self.hypercall(vcpu, cpu) {
                        return end;
                    }
                }
                Exit::Port { port, write } => {
                    let value = self.config.lock().port(port, write);
                    vcpu.answer_port(write.is_none().then_some(value));
                }
                Exit::Halt => return End::Halted,
                exit => {
                    log::error!("{:?}: {exit:x?} at {:#x}", self.domain.id, vcpu.rip());
                    return End::Killed(exit);
                }
            }
        }
    }

    fn hypercall(&self, vcpu: &mut Vcpu<'_>, cpu: usize) -> Option<End> {
        let [first, second, third] = vcpu.arguments();
        let answer = match vcpu.rax() {
            IOMMU_OP => {
                // There are no interrupts of units: so now, before a guest asks.
                self.hypervisor.tell_faults();
                let registers = Registers { number: IOMMU_OP, arguments: [first, second] };
                match self.hypervisor.hypercall(self.domain, cpu, registers) {
                    Outcome::Done(status) => status,
                    // Nothing was changed, so it executes the instruction again.
                    Outcome::Continue => {
                        self.again.fetch_add(1, Ordering::Relaxed);
                        return None;
                    }
                }
            }
            CONSOLE_IO if first == CONSOLE_WRITE => self.write(second, third),
            SCHED_OP if first == SHUTDOWN => {
                let mut reason = [0; 4];
                match self.copy_in(second, &mut reason) {
                    Ok(()) => return Some(End::Shutdown(u32::from_le_bytes(reason))),
                    Err(errno) => errno.to_ret(),
                }
            }
            _ => Errno::ENOSYS.to_ret(),
        };
        vcpu.answer(answer);
        None
    }

    fn copy_in(&self, from: u64, to: &mut [u8]) -> Result<(), Errno> {
        let memory = self.hypervisor.iommu.platform();
        memory.copy_in(self.domain.id, GuestPtr(from), to).map_err(|_| Errno::EFAULT)
    }

    fn write(&self, length: u64, from: u64) -> i64 {
        let mut room = [0; LINE];
        let line = usize::try_from(length).ok().and_then(|length| room.get_mut(..length));
        let Some(line) = line else { return Errno::E2BIG.to_ret() };
        if let Err(errno) = self.copy_in(from, line) {
            return errno.to_ret();
        }
        (self.line)(str::from_utf8(line).unwrap_or("?").trim_end());
        0
    }
}
