//! The end of a domain: in pieces, from any state, and again.

use pviommu_abi::{ContextId, Errno, FreeContext, FreeFlags, PciDevice, Subop};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::{Config, DeviceConfig, Step, When};
use zerocopy::IntoBytes;

use crate::{
    batch::kit::{self, HEADER, STOP, header, lay, run_one, unmap_later},
    kit::{DEVICE, GUEST, RW, Vm, err, with},
};
use pviommu_testbed::vm::{map_argument, unmap_argument};

/// Where an argument lies in guest memory.
const AT: u64 = 0x4000;

fn device(number: u8) -> PciDevice {
    PciDevice { seg: 0, bus: 0, devfn: (3 + number) << 3 }
}

/// The guest of [`Config::one_guest`] with six devices.
fn config() -> Config {
    let mut config = Config::one_guest(2000);
    let others =
        (1..6).map(|number| DeviceConfig { function: device(number), ..DeviceConfig::default() });
    config.devices.extend(others);
    config
}

fn piece(vm: &Vm<'_>) -> Outcome {
    vm.bed.iommu().teardown(vm.bed.domain(GUEST), 0)
}

/// INV-54, INV-60: a teardown gives way after each device, and those that are left stay where they are
/// until it is their turn.
#[test]
fn devices_leave_a_dying_domain_one_at_a_time() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, 600, RW), (0, 600));
        (1..6).for_each(|number| assert_eq!(vm.attach(device(number), context), 0));
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        for gone in 1..7u8 {
            assert_eq!(piece(vm), Outcome::Continue);
            let reach = (0..6).filter(|number| vm.reads(device(*number), 7)).count();
            assert_eq!(reach, usize::from(6 - gone));
            // Nothing is served from the first piece on (INV-61).
            assert_eq!(vm.map(context, 700, 0, 1, RW).0, err(Errno::ENODEV));
        }
        let mut pieces = 0;
        while piece(vm) == Outcome::Continue {
            pieces += 1;
        }
        assert!(pieces > 1, "what was mapped goes in pieces, too");
        vm.end();
    });
}

/// INV-60: whichever call was begun and never ended, nothing is left.
#[test]
fn a_domain_may_die_in_the_middle_of_any_call() {
    for steps in 0..12 {
        for abandoned in [Subop::MAP_PAGES, Subop::UNMAP_PAGES, Subop::FREE_CONTEXT, Subop::BATCH] {
            with(&config(), |vm| {
                let (context, second) = (vm.attached_context(), vm.context());
                assert_eq!(vm.map(context, 0, 0, 1500, RW), (0, 1500));
                assert_eq!(vm.map(second, 0, 0, 900, RW), (0, 900));
                assert_eq!(run_one(vm, context, unmap_later(1200, 100)), (0, 100));
                assert_eq!(vm.attach(device(1), second), 0);
                vm.bed.schedule().set(Step::Yield, When::Every(1));
                begin(vm, abandoned, context, steps);
                assert_eq!(vm.bed.teardown(GUEST, 0), 0);
                vm.bed.schedule().clear();
                assert!((0..6).all(|number| !vm.reads(device(number), 7)));
                vm.end();
            });
        }
    }
}

/// Enters the service `steps` times for a call, at most until it is done.
fn begin(vm: &Vm<'_>, subop: Subop, context: ContextId, steps: u32) {
    let mut map = map_argument(context, 5000, 0, 1900, RW);
    let mut unmap = unmap_argument(context, 0, 1200);
    let mut free = FreeContext {
        ctx_no: context,
        free_flags: FreeFlags::REATTACH_DEFAULT,
        ..FreeContext::default()
    };
    let mut elements = [unmap_later(0, 1200)];
    let at = match subop {
        Subop::MAP_PAGES => put(vm, map.as_mut_bytes()),
        Subop::UNMAP_PAGES => put(vm, unmap.as_mut_bytes()),
        Subop::FREE_CONTEXT => put(vm, free.as_mut_bytes()),
        _ => {
            kit::begin(&mut elements);
            let batch = header(context, STOP, 1);
            lay(vm, &batch, &elements);
            HEADER
        }
    };
    for _ in 0..steps {
        if vm.bed.hypercall(GUEST, 0, u64::from(subop.0), at) != Outcome::Continue {
            break;
        }
    }
}

fn put(vm: &Vm<'_>, bytes: &[u8]) -> u64 {
    vm.bed.guest_write(GUEST, AT, bytes);
    AT
}

/// INV-43, INV-60: a device whose entry could not be changed does not keep the rest alive.
#[test]
fn a_domain_dies_as_far_as_its_units_answer() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, 600, RW), (0, 600));
        vm.bed.schedule().set(Step::Block, When::Nth(1));
        let died = vm.bed.teardown(GUEST, 0);
        vm.bed.schedule().clear();
        assert_eq!(died, err(Errno::EIO));
        assert_eq!(vm.bed.failed_units().len(), 1);
        // What the unit may still reach stays as it is, for ever, and is no violation.
        assert_eq!(vm.bed.counters().references_live, 600);
        assert_eq!(vm.bed.domain(GUEST).stats().pinned_pages, 600);
        assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO), "and is told again");
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::ESRCH));
        assert_eq!(vm.bed.violations(), []);
    });
}
