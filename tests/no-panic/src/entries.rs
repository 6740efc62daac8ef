//! Every call an embedder makes, with arguments from outside.
#![expect(unsafe_code, reason = "the linker looks for the entry point by its bare name")]

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    Background, Backing, Caller, Context, Cpu, DefaultMap, Device, DeviceFacts, DomainIommu, Fault,
    GroupRule, Iommu, Limits, Machine, NewGroup, OptIns, Outcome, P2mChange, Reserved, Risks, Role,
    Scope, SourceEntry, Sweep, Unit, Width,
    abi::{DomId, FaultReason, Gfn, PciDevice},
    addr::{GfnRange, Mfn, MfnRange},
    platform::{Access, SourceId, UnitFacts, UnitId},
    unit::queue::Queue,
};
#[cfg(feature = "amdvi")]
use pviommu_hypervisor::{
    abi::Bfn,
    addr::BfnRange,
    platform::{Invalidation, TableRoot, Tag},
    unit::{
        acpi::DeviceSettings,
        amdvi::{command, device_entry, interrupts},
    },
};

use crate::{
    acpi,
    opaque::{number, show},
    operator,
    platform::Opaque,
    rest, topology,
};

/// What the embedder has: not known to the optimiser, because nobody in sight made it.
pub(crate) struct World<'w> {
    pub(crate) iommu: &'w Iommu<'w, Opaque<'w>>,
    machine: &'w Machine<'w>,
    pub(crate) domain: &'w DomainIommu<'w>,
    domains: &'w [DomainIommu<'w>],
    contexts: &'w [Context],
    pub(crate) reserved: &'w [Reserved],
    facts: &'w UnitFacts,
    limits: &'w Limits,
    words: &'w [AtomicU64],
    sources: &'w [SourceId],
    pub(crate) functions: &'w [PciDevice],
    frames: &'w [MfnRange],
    pub(crate) lent: topology::Lent<'w>,
}

/// Where the program would begin. Its argument is whatever was there.
#[unsafe(no_mangle)]
extern "C" fn _start(world: &World<'_>) -> ! {
    #[cfg(feature = "log")]
    {
        let _ = log::set_logger(&Logger);
        log::set_max_level(log::LevelFilter::Trace);
    }
    loop {
        build(world);
        show(&hypercall(world));
        show(&device_memory(world));
        give(world);
        take(world);
        pass_on(world);
        accept(world);
        regroup(world);
        plug(world);
        show(&trim(world));
        show(&set_default(world));
        show(&change(world));
        show(&retarget(world));
        show(&revoke(world));
        quarantine(world);
        fault(world);
        show(&tear_down(world));
        #[cfg(feature = "amdvi")]
        show(&(words(), crate::amdvi::drive(world.words)));
        #[cfg(feature = "vtd")]
        show(&crate::vtd::drive(world.words));
        submit(world);
        look(world);
        operator::ask(world);
        topology::form(world);
        acpi::read(world);
        rest::ask(world);
    }
}

pub(crate) fn any() -> u64 {
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
    let function = Device::new(device(), UnitId(any() as u16), world.reserved);
    let function = function.with_functions(world.functions).with_aliases(world.sources);
    let mut index = [SourceEntry::default(); 16];
    show(&Machine::index_sources(core::slice::from_ref(&function), &mut index));
    show(&Machine::index_sources(world.machine.devices, &mut index));
    let function = function.with_group(any() as u32).with_risks(Risks::SPLIT_GROUP);
    rest::of_device(function.with_facts(DeviceFacts::empty()).unplugged(), world.machine);
    let role = if any() == 0 { Role::Guest } else { Role::Hardware };
    let domain = DomainIommu::new(DomId(any() as u16), role, world.contexts, *world.limits);
    let domain = domain.with_opt_ins(OptIns::from_bits_truncate(any() as u32));
    let domain = domain.with_background(Background::Scratch);
    show(&domain.with_group_rule(GroupRule::TogetherOnly));
}

#[inline(never)]
fn hypercall(world: &World<'_>) -> Outcome {
    let width = if any() == 0 { Width::Bits32 } else { Width::Bits64 };
    let caller = Caller { cpu: any() as usize, width };
    world.iommu.iommu_op(world.domain, caller, any(), any())
}

#[inline(never)]
fn device_memory(world: &World<'_>) -> Outcome {
    let caller = Caller { cpu: any() as usize, width: Width::Bits64 };
    world.iommu.reserved_device_memory_map(world.domain, caller, any())
}

#[inline(never)]
fn give(world: &World<'_>) -> bool {
    world.iommu.assign(world.domain, any() as usize, device()).is_ok()
}

#[inline(never)]
fn take(world: &World<'_>) -> bool {
    world.iommu.unassign(world.domain, any() as usize, device()).is_ok()
}

#[inline(never)]
fn pass_on(world: &World<'_>) -> bool {
    let to = world.domains.first().unwrap_or(world.domain);
    world.iommu.reassign(world.domain, to, any() as usize, device()).is_ok()
}

#[inline(never)]
fn accept(world: &World<'_>) -> bool {
    let scope = if any() == 0 { Scope::Device } else { Scope::Group };
    let risks = Risks::from_bits_truncate(any() as u32);
    show(&world.iommu.approve(device()));
    world.iommu.accept_risks(device(), scope, risks).is_ok()
}

#[inline(never)]
fn regroup(world: &World<'_>) -> bool {
    let mut room = [NewGroup::new(None); 16];
    let number = |_| NewGroup::new((any() != 0).then(|| any() as u32));
    room.iter_mut().enumerate().for_each(|(at, it)| *it = number(at));
    let groups = room.get_mut(..any() as usize).unwrap_or_default();
    show(&world.iommu.group_changed(groups));
    show(&groups);
    let Ok(change) = world.iommu.begin_regroup(groups) else { return false };
    change.changes().for_each(|device| {
        show(&device);
    });
    if any() == 0 {
        change.abandon();
        return false;
    }
    change.finish().is_ok()
}

#[inline(never)]
fn plug(world: &World<'_>) -> bool {
    world.iommu.plug(device()).is_ok() || world.iommu.unplug(device()).is_ok()
}

#[inline(never)]
fn trim(world: &World<'_>) -> Outcome {
    let mut sweep = Sweep::default();
    let cpu = any() as usize;
    show(&world.iommu.trim(world.domain, cpu, &mut sweep));
    world.iommu.trim(world.domain, cpu, &mut sweep)
}

#[inline(never)]
fn set_default(world: &World<'_>) -> Outcome {
    let map = match any() {
        0 => DefaultMap::Blocked,
        1 => DefaultMap::Host,
        2 => DefaultMap::Guest,
        3 => DefaultMap::IdentityMfn,
        _ => DefaultMap::IdentityGfn,
    };
    world.iommu.set_default(world.domain, any() as usize, map)
}

#[inline(never)]
fn change(world: &World<'_>) -> Outcome {
    let frame = || (any() != 0).then(|| Mfn(any()));
    let backing = |first| Backing {
        first,
        access: Access::from_bits_truncate(any() as u8),
        mmio: any() != 0,
    };
    let Some(gfns) = GfnRange::of_pages(Gfn(any()), any()) else { return Outcome::Continue };
    let mut change = P2mChange::new(gfns, frame(), frame().map(backing));
    world.iommu.p2m_changed(world.domain, any() as usize, &mut change)
}

#[inline(never)]
fn fault(world: &World<'_>) -> bool {
    let access = Access::from_bits_truncate(any() as u8);
    let (address, reason) = (any(), FaultReason(any() as u32));
    let fault = Fault { source: SourceId(device()), address, access, reason };
    show(&world.iommu.report_fault(UnitId(any() as u16), &fault, any()));
    world.domain.renew_invalidations();
    world.domain.renew_log_lines();
    world.iommu.restart(device()).is_ok()
}

#[inline(never)]
fn retarget(world: &World<'_>) -> Outcome {
    let mut sweep = Sweep::default();
    let cpu = any() as usize;
    let first = world.iommu.retarget(world.domain, cpu, world.frames, &mut sweep);
    show(&first);
    // A sweep that is not at its beginning.
    world.iommu.retarget(world.domain, cpu, world.frames, &mut sweep)
}

#[inline(never)]
fn revoke(world: &World<'_>) -> Outcome {
    let Some(frames) = MfnRange::of_pages(Mfn(any()), any()) else { return Outcome::Continue };
    let mut sweep = Sweep::default();
    world.iommu.revoke_mmio(world.domain, any() as usize, frames, &mut sweep)
}

#[inline(never)]
fn quarantine(world: &World<'_>) -> bool {
    world.iommu.quarantine(any() as usize, device()).is_ok()
}

#[inline(never)]
fn tear_down(world: &World<'_>) -> Outcome {
    world.iommu.teardown(world.domain, any() as usize)
}

/// What the driver of a unit is told.
#[cfg(feature = "amdvi")]
#[inline(never)]
fn words() -> [[u64; 2]; 3] {
    let tag = Tag(any() as u16);
    let what = match (any(), BfnRange::new(Bfn(any()), Bfn(any()))) {
        (0, Some(range)) => Invalidation::Leaves(range),
        (_, Some(range)) => Invalidation::Tables(range),
        (_, None) => Invalidation::Everything,
    };
    let root = TableRoot { frame: Mfn(any()), levels: any() as u8 };
    let device = command::forget_device(device());
    show(&(command::wait(any(), any()), command::forget_everything()));
    let settings = DeviceSettings { data: any() as u8, extended: any() as u32 };
    let old = device_entry::blocked(settings);
    let new = device_entry::replaced([any(), any()], old);
    show(&(
        device_entry::stopped(new),
        device_entry::restarted(new),
        device_entry::is_stopped(new),
    ));
    let words = crate::amdvi::interrupts();
    show(&(words.can_be(), interrupts::word(settings, words), interrupts::replaced(any(), words)));
    show(&(interrupts::isolates(any()), settings.ats_disabled()));
    [command::invalidate(tag, what), device, device_entry::translated(root, tag)]
}

/// And how it is told.
#[inline(never)]
fn submit(world: &World<'_>) {
    let (ring, status) = world.words.split_at_checked(any() as usize).unwrap_or_default();
    if let Ok(queue) = Queue::new(ring, status) {
        let commands = [[any(), any()]; 3];
        while show(&queue.submit(world.iommu.platform(), &commands, || any() != 0)) {
            show(&(queue.has_failed(), queue.post(world.iommu.platform(), &commands)));
        }
    }
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
#[cfg(feature = "log")]
struct Logger;

#[cfg(feature = "log")]
impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        show(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        show(record);
    }

    fn flush(&self) {}
}
