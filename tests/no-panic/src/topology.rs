//! Groups of functions that say anything of themselves.

use core::fmt::Write;

use pviommu_hypervisor::{
    NewGroup,
    abi::PciDevice,
    platform::SourceId,
    topology::{
        AcsBits, BringUp, Change, Firmware, Function, Mode, Node, PeerToPeer, RangeList, Regions,
        Topology, enabling, virtual_functions,
    },
};

use crate::{
    entries::{World, any, device},
    opaque::{show, yes},
    operator::Screen,
    rest,
};

/// What the embedder has of a machine: not known to the optimiser.
pub(crate) struct Lent<'w> {
    pub(crate) config: &'w [u8],
    pub(crate) functions: &'w [Function],
    pub(crate) firmware: &'w Firmware<'w>,
    pub(crate) regions: &'w Regions<'w>,
}

#[inline(never)]
pub(crate) fn form(world: &World<'_>) {
    let lent = &world.lent;
    let mut nodes = [const { Node::vacant() }; 8];
    let known = Function::from_config(device(), lent.config);
    if let Some(virtual_functions) = virtual_functions(lent.config) {
        virtual_functions.addresses(device()).for_each(|address| {
            show(&address);
        });
    }
    let listed = known.ok().into_iter().chain(lent.functions.iter().copied());
    for (node, function) in nodes.iter_mut().zip(listed) {
        *node = Node::new(function);
        let around = BringUp { rcba: any() as u32, ats_below: yes(0, 0) };
        enabling(&function, around).for_each(|change| {
            show(&change);
        });
    }
    let mode = if yes(0, 0) { Mode::Safe } else { Mode::AsLinux };
    match Topology::build(&mut nodes, any() as usize, *lent.firmware, mode) {
        Ok(mut topology) => {
            look(world, &topology);
            change(world, &mut topology);
            plan(world, &mut topology);
        }
        Err(error) => {
            show(&write!(Screen, "{error}"));
        }
    }
}

fn look(world: &World<'_>, topology: &Topology<'_>) {
    for group in topology.groups() {
        group.members().for_each(|member| {
            show(member);
        });
        group.ties().for_each(|tie| {
            show(&write!(Screen, "{tie}"));
        });
    }
    topology.remedies(device(), &mut |remedy| {
        show(&write!(Screen, "{remedy}"));
    });
    let mut room = [SourceId(PciDevice { seg: 0, bus: 0, devfn: 0 }); 16];
    show(&topology.ids_moving_with(device(), &mut room));
    if let Some(function) = topology.function(device()) {
        let mut list = RangeList::new();
        let above = topology.bridges_above(function.address);
        show(&world.lent.regions.of(function, above, &mut list));
        show(&list);
        let judged = world.lent.regions.msi().judge(function);
        show(&write!(Screen, "{judged}"));
        rest::of_interrupts(&judged);
    }
    show(&PeerToPeer::default());
}

#[inline(never)]
fn plan(world: &World<'_>, topology: &mut Topology<'_>) {
    let mut groups = [NewGroup::new(None); 8];
    rest::of_topology(world, topology, groups.get_mut(..any() as usize).unwrap_or_default());
    let Ok(plan) = topology.plan(Change::Add(world.lent.functions)) else { return };
    plan.regrouped().chain(plan.removed()).chain(plan.altered()).for_each(|function| {
        show(function);
    });
    plan.writes().for_each(|write| {
        show(&write);
    });
    show(&(plan.mixed(), plan.weakens(), plan.in_the_way(|_| yes(0, 0))));
    if yes(0, 0) {
        plan.keep();
    }
}

fn change(world: &World<'_>, topology: &mut Topology<'_>) {
    let change = match any() {
        0 => {
            let control = AcsBits::from_bits_truncate(any() as u16);
            Change::Access { function: device(), control }
        }
        1 => Change::PeerToPeer { below: device(), allowed: yes(0, 0) },
        2 => Change::Add(world.lent.functions),
        _ => Change::Remove(world.functions),
    };
    let mut groups = [NewGroup::new(None); 8];
    let groups = groups.get_mut(..any() as usize).unwrap_or_default();
    let write = |register| {
        show(&register);
        if yes(0, 0) { Ok(()) } else { Err("refused") }
    };
    if let Err(error) = world.iommu.change_topology(topology, change, groups, write) {
        show(&write!(Screen, "{error}"));
    }
    if let Err(error) = world.iommu.topology_changed(topology, change, groups) {
        show(&write!(Screen, "{error}"));
    }
}
