//! Unmaps that wait: until they are made the device reaches the buffer, and nobody else has it.

use pviommu_guest::{
    IommuClient,
    dma::{Deferred, Device, Direction, DmaSpace, Pending},
};

use super::faults;
use crate::{
    check::{check, check_eq},
    clock,
    edu::Edu,
    kernel::{self, Metal},
    memory::Shared,
    xen::transport,
};

/// Far longer than an unmap may wait.
const PATIENCE: u64 = 5 * clock::SECOND;
/// What the device is to leave alone.
const SECRET: u64 = 7;

/// Runs it with a device that is in the space and has been given something to write.
pub fn run(space: &DmaSpace<'_, Metal>, edu: &Edu, told: bool) {
    let iommu = IommuClient::new(transport());
    let device = space.attached(edu.device, u64::MAX).expect("it is in the space").deferred();
    let writes = Shared::take(1);
    let target = device.map(writes, Direction::FromDevice).expect("it can be mapped");
    let address = target.address();
    check("edu writes to a buffer of a deferred device", edu.write(address, 8));
    let written = writes.read(0);
    check_eq("it arrives there", written != 0, true);

    let calls = kernel::calls();
    let waits = target.unmap().expect("it can wait");
    check_eq("an unmap that waits is no call", kernel::calls(), calls);
    check_eq("what waits is not safe", waits.is_safe(), false);
    let Err(waits) = waits.try_take() else {
        return check("nor is its buffer to be had", Err::<(), _>("it was"));
    };
    writes.fill(SECRET);
    check("edu writes to what waits", edu.write(address, 8));
    check_eq("it arrives, for the unmap was not made", writes.read(0), written);

    // By now it waits too long.
    let calls = kernel::calls();
    let other = device.map(Shared::take(1), Direction::FromDevice).expect("it can be mapped");
    check_eq("the next map takes it along in its call", kernel::calls() - calls, 1);
    check_eq("and is at another bus frame", other.address() == address, false);
    let writes = waits.try_take().expect("its unmap was made");
    is_out_of_reach(&iommu, edu, (writes, address), told);

    let waits = other.unmap().expect("it can wait");
    let polled = clock::wait(PATIENCE, || space.poll().is_ok() && waits.is_safe());
    check_eq("a timer makes what waits too long", polled, true);
    check("and its buffer is to be had", waits.try_take());

    at_once(space, &device, edu, told);
}

/// As many as are asked for at once.
fn at_once(
    space: &DmaSpace<'_, Metal>,
    device: &Device<'_, Metal, Deferred>,
    edu: &Edu,
    told: bool,
) {
    const MANY: usize = 24;
    let iommu = IommuClient::new(transport());
    let mapped: [_; MANY] = core::array::from_fn(|_| {
        let memory = Shared::take(1);
        (memory, device.map(memory, Direction::FromDevice).expect("it can be mapped"))
    });
    let wait = mapped.map(|(memory, mapping)| {
        let address = mapping.address();
        (memory, address, mapping.unmap().expect("it can wait"))
    });
    let calls = kernel::calls();
    check("flush", space.flush());
    check_eq("all that wait are one call", kernel::calls() - calls, 1);
    let safe = wait.iter().filter(|(_, _, waits)| Pending::is_safe(waits)).count();
    check_eq("all are safe", safe, MANY);
    let (memory, address, _) = &wait[MANY / 2];
    is_out_of_reach(&iommu, edu, (*memory, *address), told);
}

/// Looks whether the device still reaches memory where it was on the bus.
fn is_out_of_reach(
    iommu: &IommuClient<impl pviommu_guest::Hypercall>,
    edu: &Edu,
    (memory, address): (Shared, u64),
    told: bool,
) {
    faults::forget(iommu);
    memory.fill(SECRET);
    check("edu writes to what has waited", edu.write(address, 8));
    check_eq("nothing arrives any longer", memory.page_is(0, SECRET), true);
    if told {
        check("the guest is told that it did", faults::expect(iommu, edu.device, address));
    }
}
