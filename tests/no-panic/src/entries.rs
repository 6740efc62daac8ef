//! Every call an embedder makes, with arguments from outside.
#![expect(unsafe_code, reason = "the linker looks for the entry point by its bare name")]

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    Caller, Context, Cpu, Device, DomainIommu, Iommu, Limits, Machine, Outcome, Reserved, Role,
    Unit, Width,
    abi::{DomId, PciDevice},
    platform::{UnitFacts, UnitId},
};

use crate::{
    opaque::{number, show},
    platform::Opaque,
};

/// What the embedder has: not known to the optimiser, because nobody in sight made it.
pub(crate) struct World<'w> {
    iommu: &'w Iommu<'w, Opaque<'w>>,
    machine: &'w Machine<'w>,
    domain: &'w DomainIommu<'w>,
    domains: &'w [DomainIommu<'w>],
    contexts: &'w [Context],
    reserved: &'w [Reserved],
    facts: &'w UnitFacts,
    limits: &'w Limits,
    words: &'w [AtomicU64],
}

/// Where the program would begin. Its argument is whatever was there.
#[unsafe(no_mangle)]
extern "C" fn _start(world: &World<'_>) -> ! {
    let _ = log::set_logger(&Logger);
    log::set_max_level(log::LevelFilter::Trace);
    loop {
        build(world);
        show(&hypercall(world));
        give(world);
        take(world);
        trim(world);
        show(&tear_down(world));
        look(world);
    }
}

fn any() -> u64 {
    number(0, 0)
}

/// Any function of any device.
pub(crate) fn device() -> PciDevice {
    PciDevice::from_sbdf(any() as u32)
}

// One function per entry, so that the linker's complaint says which one it is about.

#[inline(never)]
fn build(world: &World<'_>) {
    let platform = Opaque { tables: world.words, domains: world.domains };
    show(&Iommu::new(platform, *world.machine));
    show(&Context::new());
    show(&Cpu::new());
    show(&Unit::new(*world.facts, world.words));
    show(&Device::new(device(), UnitId(any() as u16), world.reserved));
    let role = if any() == 0 { Role::Guest } else { Role::Hardware };
    show(&DomainIommu::new(DomId(any() as u16), role, world.contexts, *world.limits));
}

#[inline(never)]
fn hypercall(world: &World<'_>) -> Outcome {
    let width = if any() == 0 { Width::Bits32 } else { Width::Bits64 };
    let caller = Caller { cpu: any() as usize, width };
    world.iommu.iommu_op(world.domain, caller, any(), any())
}

#[inline(never)]
fn give(world: &World<'_>) -> bool {
    world.iommu.assign(world.domain, device()).is_ok()
}

#[inline(never)]
fn take(world: &World<'_>) -> bool {
    world.iommu.unassign(world.domain, any() as usize, device()).is_ok()
}

#[inline(never)]
fn trim(world: &World<'_>) -> bool {
    world.iommu.trim(world.domain, any() as usize).is_ok()
}

#[inline(never)]
fn tear_down(world: &World<'_>) -> Outcome {
    world.iommu.teardown(world.domain, any() as usize)
}

#[inline(never)]
fn look(world: &World<'_>) {
    show(&world.domain.stats());
    show(&world.iommu.platform().tables);
    for unit in world.machine.units {
        show(&(unit.tags_used(), unit.has_failed()));
    }
}

/// Takes records somewhere. What they say is formatted there, if at all.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        show(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        show(record);
    }

    fn flush(&self) {}
}
