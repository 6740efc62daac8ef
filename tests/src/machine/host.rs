//! The safe platform traits: guest memory, names of devices and domains, preemption, policy.

use std::sync::atomic::Ordering;

use pviommu_abi::{DomId, GuestPtr, PciDevice};
use pviommu_hypervisor::{
    DomainIommu,
    platform::{
        AccessPolicy, CopyFault, Devices, Domains, GuestMemory, Operation, PolicyDenied, Preempt,
    },
};

use super::{board::Copied, pieces::Work, platform::Platform, schedule::Step};

impl GuestMemory for Platform<'_> {
    fn copy_in(&self, domain: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        let _held = self.board.lock.enter("copy_in");
        if self.board.schedule.hit(Step::CopyIn) {
            return Err(CopyFault);
        }
        self.board.pieces.count(Work::Copies, 1);
        let copied = Copied { domain, address: from.0, bytes: to.len(), out: false };
        self.board.note_copy(copied);
        let done = self.board.guest_read(domain, from.0, to);
        self.board.note_seen(copied, done.is_ok().then_some(&*to));
        done
    }

    fn copy_out(&self, domain: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        let _held = self.board.lock.enter("copy_out");
        if self.board.schedule.hit(Step::CopyOut) {
            return Err(CopyFault);
        }
        self.board.pieces.count(Work::Copies, 1);
        let copied = Copied { domain, address: to.0, bytes: from.len(), out: true };
        self.board.note_copy(copied);
        let done = self.board.guest_write(domain, to.0, from);
        self.board.note_seen(copied, done.is_ok().then_some(from));
        done
    }
}

impl Devices for Platform<'_> {
    fn resolve(&self, domain: DomId, name: PciDevice) -> Option<PciDevice> {
        let _held = self.board.lock.enter("resolve");
        self.board.device(name).filter(|device| device.is_called(name))?;
        let all = self.slot(domain).is_some_and(|slot| slot.sees_all_devices);
        (all || self.board.device_owner(name) == Some(domain)).then_some(name)
    }
}

impl Domains for Platform<'_> {
    fn with_domain(&self, domain: DomId, act: &mut dyn FnMut(&DomainIommu<'_>)) -> bool {
        let found = {
            let _held = self.board.lock.enter("with_domain");
            self.slot(domain).filter(|slot| !slot.dying.load(Ordering::Acquire))
        };
        // Domains live as long as the machine, so nothing has to be held while `act` runs.
        found.inspect(|slot| act(&slot.iommu)).is_some()
    }
}

impl Preempt for Platform<'_> {
    fn should_yield(&self) -> bool {
        let _held = self.board.lock.enter("should_yield");
        self.board.pieces.end();
        self.board.schedule.hit(Step::Yield)
    }
}

impl AccessPolicy for Platform<'_> {
    fn allow(&self, operation: &Operation) -> Result<(), PolicyDenied> {
        let _held = self.board.lock.enter("allow");
        self.board.note_asked(operation);
        if self.board.schedule.hit(Step::Policy) { Err(PolicyDenied) } else { Ok(()) }
    }
}
