//! A context that goes, and another that comes to its number, while a device is made ready for the first.

use std::thread;

use pviommu_abi::{ContextId, Errno, FreeFlags};

use super::kit::{ALL, check, direct, machine};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with};

/// INV-32, INV-33: the device comes to a context that keeps its range from the guest, or not at all; and what was
/// reserved in the one is not in the other.
#[test]
fn a_device_does_not_come_to_another_context_than_it_was_made_ready_for() {
    let range = direct(0x8000, 2, ALL);
    let mut config = machine(&[&[range]]);
    config.cpus = 2;
    with(&config, |vm| {
        let context = vm.context();
        let pause = vm.bed.board().pause_allocation();
        thread::scope(|scope| {
            let attach = scope.spawn(|| Vm::new(vm.bed, GUEST, 1).attach(DEVICE, context));
            pause.wait();
            assert_eq!(vm.free(context, FreeFlags::empty()), 0);
            assert_eq!(vm.alloc(), Ok(context), "another one of the same number");
            drop(pause);
            assert_eq!(attach.join().unwrap(), err(Errno::EINVAL));
        });
        assert_eq!(vm.map(context, 0x7fff, 1, 3, RW), (0, 3), "nothing is reserved here");
        check(vm, DEVICE, &range);
        assert_eq!(vm.attach(DEVICE, context), err(Errno::EADDRINUSE));
        assert_eq!(vm.unmap(context, 0x7fff, 3), (0, 3));
        assert_eq!(vm.attach(DEVICE, context), 0);
        check(vm, DEVICE, &range);
        assert_eq!(vm.map(context, 0x8000, 1, 1, RW), (err(Errno::EADDRNOTAVAIL), 0));
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        vm.end();
    });
}
