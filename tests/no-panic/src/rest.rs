//! Small functions that an embedder may call beside its calls: they ask, compute and compose.

use pviommu_hypervisor::{
    DefaultMap, Device, DomainIommu, Machine, NewGroup, Reserved,
    abi::{Bfn, DomId, Gfn},
    addr::{BfnRange, Mfn},
    format::FormatKind,
    platform::{Access, PageKind, Runs, UnitMemory, acquire_stretches},
    topology::{
        Acs, AcsBits, Function, InterruptReason, Interrupts, MsiController, RangeList, Topology,
        Window, frames_of, merge,
    },
    unit::queue::entries_for,
};

use crate::{
    entries::{World, any, device},
    opaque::{show, yes},
};

#[inline(never)]
pub(crate) fn ask(world: &World<'_>) {
    of_domain(world.domain);
    ranges(world);
    runs(world);
    for function in world.lent.functions {
        of_function(function);
    }
    if let Some(cpu) = world.iommu.scratch_written(world.domain, any() as usize) {
        show(&cpu);
    }
    show(&world.iommu.flush_deferred(world.domain, any() as usize));
    show(&entries_for(any() as usize));
}

fn of_domain(domain: &DomainIommu<'_>) {
    show(&(domain.need_iommu(), domain.owns_default(), domain.default_map()));
    show(&(domain.background(), domain.opt_ins(), domain.group_rule()));
    let map = if yes(0, 0) { DefaultMap::Host } else { DefaultMap::IdentityGfn };
    show(&(map.need_iommu(), FormatKind::VtdSecondStage.is_built(), FormatKind::AmdV1.is_built()));
}

pub(crate) fn of_device(device: Device<'_>, machine: &Machine<'_>) {
    show(&(device.is_absent(), device.is_beside_untranslated()));
    show(&device.beside_untranslated());
    show(&Machine::count_sources(machine.devices));
    for unit in machine.units {
        show(&(unit.faults(), unit.tags_allowed()));
    }
}

fn ranges(world: &World<'_>) {
    let range = || BfnRange::new(Bfn(any()), Bfn(any()));
    if let (Some(one), Some(two)) = (range(), range()) {
        show(&(one.overlaps(two), one.contains(Bfn(any())), one.intersection(two), one.union(two)));
    }
    show(&(Mfn(any()).checked_add(any()), frames_of(Window { first: any(), last: any() })));
    show(&world.reserved.iter().all(Reserved::enforced));
    let mut list = RangeList::new();
    show(&merge(world.reserved.iter().copied(), &mut list));
    show(&list);
}

fn runs(world: &World<'_>) {
    let mut runs = Runs::new();
    let access = Access::from_bits_truncate(any() as u8);
    show(&runs.push_each(PageKind::Ram, access, [Mfn(any()), Mfn(any())]));
    let list = [Gfn(any()), Gfn(any()), Gfn(any())];
    let list = list.get(..any() as usize).unwrap_or_default();
    let (domain, owner) = (DomId(any() as u16), DomId(any() as u16));
    show(&acquire_stretches(world.iommu.platform(), domain, owner, list, access, &mut runs));
    show(&(runs.is_empty(), runs.all_alike(), runs.alike_from(any() as usize)));
    show(&runs.first().map(|run| run.kind.is_held()));
    runs.clear();
    show(&runs);
}

fn of_function(function: &Function) {
    show(&(function.is_host_bridge(), function.is_virtual(), function.is_vouched_for()));
    show(&(function.secondary(), function.kind.is_pcie(), function.kind.is_egress_port()));
    let acs: Acs = function.acs;
    show(&(acs.isolates(), acs.has_egress_control()));
    show(&acs.with_control(AcsBits::from_bits_truncate(any() as u16)));
    let controller = MsiController::x86(yes(0, 0));
    show(&(controller.is_translated(), controller.buses.map(|buses| buses.lead_to(device()))));
}

pub(crate) fn of_interrupts(judged: &Interrupts<'_>) {
    show(&(judged.isolated(), judged.enforceable(), judged.controller(), judged.reason()));
    show(&InterruptReason::of_group([judged.reason()].into_iter().take(any() as usize)));
}

pub(crate) fn of_topology(world: &World<'_>, topology: &Topology<'_>, groups: &mut [NewGroup]) {
    if let Some(group) = topology.group_of(device()) {
        show(&(group.is_translated(), group.number()));
    }
    show(&topology.moves_with(device()));
    topology.moving_with(device()).for_each(|function| {
        show(function);
    });
    topology.ids_of(device(), &mut |id| {
        show(&id);
    });
    show(&world.iommu.list_groups(topology, groups));
    for group in groups {
        show(&(group.fate(), group.beside_untranslated(yes(0, 0))));
    }
}

pub(crate) fn of_memory(memory: &UnitMemory<'_>) {
    memory.store(any() as usize, memory.load(any() as usize));
    show(&memory.page(any() as usize));
    show(&memory.change_pair(any() as usize, |_| [any(), any()]));
}
