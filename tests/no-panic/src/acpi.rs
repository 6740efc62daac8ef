//! Tables of firmware, of any bytes.

use core::fmt::Write;

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::Access,
    topology::{DirectRange, Function, Window},
    unit::acpi::{AcpiError, NoRoom, table_length},
};

use crate::{
    entries::{World, any, device},
    opaque::{show, yes},
    operator::Screen,
};

#[inline(never)]
pub(crate) fn read(world: &World<'_>) {
    let bytes = world.lent.config;
    match table_length(bytes) {
        Ok(length) => {
            show(&length);
        }
        Err(error) => tell(error),
    }
    #[cfg(feature = "vtd")]
    dmar(world, bytes);
    #[cfg(feature = "amdvi")]
    ivrs(world, bytes);
}

fn tell(error: AcpiError) {
    show(&write!(Screen, "{error}"));
}

/// What a list came to.
fn list<T>(list: Result<&[T], NoRoom>) {
    match list {
        Ok(list) => show(list),
        Err(error) => show(&write!(Screen, "{error}")),
    };
}

/// Any function there may be, or none.
fn facts(world: &World<'_>) -> impl Fn(PciDevice) -> Option<Function> {
    |_| yes(0, 0).then(|| world.lent.functions.first().copied()).flatten()
}

/// Room for direct ranges.
fn room() -> [DirectRange; 8] {
    let bytes = Window { first: any(), last: any() };
    let access = Access::from_bits_truncate(any() as u8);
    [DirectRange { function: device(), bytes, relaxable: yes(0, 0), access }; 8]
}

#[cfg(feature = "vtd")]
fn dmar(world: &World<'_>, bytes: &[u8]) {
    use pviommu_hypervisor::unit::acpi::{Dmar, Structure};

    let dmar = match Dmar::parse(bytes) {
        Ok(dmar) => dmar,
        Err(error) => return tell(error),
    };
    show(&(dmar.host_address_width(), dmar.flags()));
    let facts = facts(world);
    for structure in dmar.structures() {
        show(&structure);
        if let Structure::Satc(cached) = structure {
            for scope in cached.scopes() {
                show(&scope.function(cached.segment, &facts));
                show(&scope.covers(cached.segment, device(), &facts));
            }
        }
    }
    dmar.reserved_memory().for_each(|memory| {
        show(&memory);
    });
    for unit in dmar.units() {
        show(&unit);
    }
    match dmar.unit_of(device(), &facts) {
        Ok(unit) => {
            show(&unit);
        }
        Err(error) => tell(error),
    }
    let functions = world.lent.functions.iter();
    list(dmar.direct_ranges(functions, &facts, |_| yes(0, 0), &mut room()));
}

#[cfg(feature = "amdvi")]
fn ivrs(world: &World<'_>, bytes: &[u8]) {
    use pviommu_hypervisor::{
        platform::SourceId,
        topology::IdAlias,
        unit::acpi::{Block, Ivrs},
    };

    let ivrs = match Ivrs::parse(bytes) {
        Ok(ivrs) => ivrs,
        Err(error) => return tell(error),
    };
    let info = ivrs.info();
    show(&(info, info.has_extended_features(), info.dma_remapping()));
    show(&(info.physical_address_bits(), info.virtual_address_bits()));
    show(&info.reserves_hypertransport());
    ivrs.blocks().for_each(|block| {
        show(&block);
        if let Block::Ivmd(memory) = block {
            show(&(memory.is_of(device()), memory.access()));
        }
    });
    for (id, unit) in ivrs.units() {
        show(&(id, unit.settings_of(any() as u16)));
        for entry in unit.entries() {
            show(&entry);
        }
    }
    show(&ivrs.unit_of(device(), &facts(world)));
    let functions = world.lent.functions.iter();
    list(ivrs.direct_ranges(functions.clone(), &mut room()));
    let mut aliases = [IdAlias { function: device(), id: SourceId(device()) }; 8];
    list(ivrs.aliases(functions, &mut aliases));
}
