//! What an operator asks, and what is printed of the answer.

use core::fmt::{self, Write};

use pviommu_hypervisor::{
    DumpLine,
    abi::{Bfn, ContextId},
    platform::{Access, SourceId, UnitId},
};

use crate::{
    entries::{World, any, device},
    opaque::{show, yes},
};

/// Takes text somewhere, or fails to.
pub(crate) struct Screen;

impl Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if show(text) && yes(0, 0) { Ok(()) } else { Err(fmt::Error) }
    }
}

#[inline(never)]
pub(crate) fn ask(world: &World<'_>) {
    stats(world);
    explain(world);
    dump(world);
}

#[inline(never)]
fn stats(world: &World<'_>) {
    let context = world.iommu.context_stats(world.domain, ContextId(any() as u16));
    if let Some(context) = &context {
        show(context.units());
        show(context.reserved());
    }
    show(&context);
    show(&world.iommu.unit_stats(UnitId(any() as u16)));
    if let Some(device) = world.iommu.device_stats(device()) {
        show(&write!(Screen, "{device}"));
    }
}

#[inline(never)]
fn explain(world: &World<'_>) {
    let access = Access::from_bits_truncate(any() as u8);
    let told = world.iommu.explain(any() as usize, SourceId(device()), any(), access);
    if let Some(told) = told {
        show(&write!(Screen, "{told}"));
        for entry in told.trail.entries() {
            show(&entry);
        }
    }
}

#[inline(never)]
fn dump(world: &World<'_>) {
    let mut lines = [DumpLine::EMPTY; 16];
    // As few lines as there can be room for.
    let room = lines.get_mut(..any() as usize).unwrap_or_default();
    let (cpu, id) = (any() as usize, ContextId(any() as u16));
    show(&world.iommu.dump(world.domain, cpu, id, Bfn(any()), room));
    for line in &lines {
        show(&write!(Screen, "{line}"));
    }
}
