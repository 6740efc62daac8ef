//! The machine in memory that C lends, and the service on it.
#![expect(unsafe_code, reason = "symbols that C links to have names of their own")]

use core::{
    ffi::{c_char, c_int, c_void},
    fmt::{self, Write},
    sync::atomic::AtomicU64,
};

use pviommu_abi::{Errno, PciDevice};
use pviommu_hypervisor::{
    Cpu, Device, Iommu, Reserved, Risks, SetupError, SourceEntry, Unit,
    addr::MfnRange,
    platform::{SourceId, TableShape, UnitFacts, UnitId},
};

use crate::{
    config::{
        BESIDE_UNTRANSLATED, DeviceConfig, INTERRUPTS_ISOLATED, MachineConfig, NO_GROUP, UNPLUGGED,
        UnitConfig, format, reserved, unreachable,
    },
    lent::{Cutter, Lent, room_for},
    platform::{Embedder, PlatformTable},
    pointers::{In, Object, Out, Shared},
    status::{Text, ended},
    unit::DrivenUnit,
};

/// `struct pviommu_machine`: the service.
#[repr(C)]
#[derive(Debug)]
pub struct Machine {
    magic: AtomicU64,
    pub(crate) iommu: Iommu<'static, Embedder>,
}

// SAFETY: `repr(C)`, and the word comes first.
unsafe impl Object for Machine {
    const MAGIC: u64 = u64::from_le_bytes(*b"pviommu\n");
}

/// Flags of a device that mean something.
const FLAGS: u16 = INTERRUPTS_ISOLATED | BESIDE_UNTRANSLATED | UNPLUGGED;

/// Why there is no machine.
enum Refusal {
    /// The configuration, or where it is.
    Errno(Errno),
    /// This function is missing.
    Lacks(&'static str),
    /// The lists do not fit together.
    Setup(SetupError),
}

impl Refusal {
    fn errno(&self) -> Errno {
        match self {
            Self::Errno(errno) => *errno,
            Self::Setup(SetupError::FormatNotBuilt(_)) => Errno::EOPNOTSUPP,
            Self::Lacks(_) | Self::Setup(_) => Errno::EINVAL,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(Errno::ENOMEM) => f.write_str("the memory that was lent is too small"),
            Self::Errno(errno) => {
                write!(f, "a pointer, a number or a flag of the configuration is wrong ({errno})")
            }
            Self::Lacks(name) => write!(f, "the platform lacks {name}"),
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<SetupError> for Refusal {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

fn count(number: u32) -> Result<usize, Errno> {
    usize::try_from(number).map_err(|_| Errno::EINVAL)
}

/// What a unit can do: of one that is driven here its driver says it.
fn facts(unit: &UnitConfig) -> Result<UnitFacts, Errno> {
    if unit.driven.is_null() {
        return unit.facts.try_into();
    }
    Ok(unit.driven.open()?.driver().facts())
}

/// Words that keep account of a unit's tags, of which no more than 2^16 have names.
fn tag_words(unit: &UnitConfig) -> Result<usize, Errno> {
    count(facts(unit)?.tags.min(1 << 16).div_ceil(64))
}

/// How many ids the requests of a device carry.
fn sources(device: &DeviceConfig) -> Result<usize, Errno> {
    let others = count(device.nr_functions)?.checked_add(count(device.nr_aliases)?);
    others.and_then(|it| it.checked_add(1)).ok_or(Errno::EINVAL)
}

fn size(config: &MachineConfig) -> Result<usize, Errno> {
    let mut size = 0usize;
    let mut add = |piece: Option<usize>| {
        size = piece.and_then(|piece| size.checked_add(piece)).ok_or(Errno::EINVAL)?;
        Ok(())
    };
    let (units, devices) = (count(config.nr_units)?, count(config.nr_devices)?);
    add(room_for::<Machine>(1))?;
    add(room_for::<Cpu>(count(config.nr_cpus)?))?;
    add(room_for::<Option<&DrivenUnit>>(units))?;
    add(room_for::<Unit<'_>>(units))?;
    for unit in config.units.all(config.nr_units)? {
        add(room_for::<AtomicU64>(tag_words(unit)?))?;
    }
    add(room_for::<Device<'_>>(devices))?;
    let mut ids = 0usize;
    for device in config.devices.all(config.nr_devices)? {
        add(room_for::<Reserved>(count(device.nr_reserved)?))?;
        add(room_for::<PciDevice>(count(device.nr_functions)?))?;
        add(room_for::<SourceId>(count(device.nr_aliases)?))?;
        ids = ids.checked_add(sources(device)?).ok_or(Errno::EINVAL)?;
    }
    add(room_for::<SourceEntry>(ids))?;
    add(room_for::<Reserved>(count(config.nr_reserved)?))?;
    add(room_for::<MfnRange>(count(config.nr_unreachable)?))?;
    Ok(size)
}

fn device(config: &DeviceConfig, memory: &mut Cutter) -> Result<Device<'static>, Errno> {
    if config.flags & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let ranges = config.reserved.all(config.nr_reserved)?;
    let mut ranges = ranges.iter().map(reserved);
    let ranges =
        memory.many(count(config.nr_reserved)?, |_| ranges.next().ok_or(Errno::EINVAL)?)?;
    let mut others = config.functions.all(config.nr_functions)?.iter();
    let functions = memory
        .many(count(config.nr_functions)?, |_| others.next().copied().ok_or(Errno::EINVAL))?;
    let mut others = config.aliases.all(config.nr_aliases)?.iter();
    let aliases = memory.many(count(config.nr_aliases)?, |_| {
        others.next().copied().map(SourceId).ok_or(Errno::EINVAL)
    })?;
    let risks = Risks::from_bits(config.risks).ok_or(Errno::EINVAL)?;
    let mut device = Device::new(config.function, UnitId(config.unit), ranges)
        .with_functions(functions)
        .with_aliases(aliases)
        .with_facts(config.facts())
        .with_risks(risks);
    if config.group != NO_GROUP {
        device = device.with_group(config.group);
    }
    if config.flags & BESIDE_UNTRANSLATED != 0 {
        device = device.beside_untranslated();
    }
    if config.flags & UNPLUGGED != 0 {
        device = device.unplugged();
    }
    Ok(device)
}

fn units(listed: &[UnitConfig], memory: &mut Cutter) -> Result<&'static [Unit<'static>], Errno> {
    let made = memory.apart(listed.len(), |place, memory| {
        let unit = listed.get(place).ok_or(Errno::EINVAL)?;
        let words = memory.many(tag_words(unit)?, |_| Ok(AtomicU64::new(0)))?;
        Ok(Unit::new(facts(unit)?, words))
    })?;
    Ok(made)
}

fn devices(
    config: &MachineConfig,
    memory: &mut Cutter,
) -> Result<&'static [Device<'static>], Errno> {
    let listed = config.devices.all(config.nr_devices)?;
    let made = memory.apart(listed.len(), |place, memory| {
        device(listed.get(place).ok_or(Errno::EINVAL)?, memory)
    })?;
    Ok(made)
}

fn build(
    config: &MachineConfig,
    (calls, context): (PlatformTable, *mut c_void),
    memory: &mut Cutter,
) -> Result<&'static mut Machine, Refusal> {
    let listed = config.units.all(config.nr_units)?;
    let at = |place: usize| listed.get(place).ok_or(Errno::EINVAL);
    let driven = listed.iter().all(|unit| !unit.driven.is_null());
    if let Some(name) = calls.lacks(driven) {
        return Err(Refusal::Lacks(name));
    }
    let drivers: &[Option<&DrivenUnit>] = memory.many(listed.len(), |place| {
        let driven = at(place)?.driven;
        if driven.is_null() { Ok(None) } else { driven.open().map(Some) }
    })?;
    let units = units(listed, memory)?;
    let devices = devices(config, memory)?;
    let ids = pviommu_hypervisor::Machine::count_sources(devices);
    let room = memory.many(ids, |_| Ok(SourceEntry::default()))?;
    let sources = pviommu_hypervisor::Machine::index_sources(devices, room)?;
    let cpus = memory.many(count(config.nr_cpus)?, |_| Ok(Cpu::new()))?;
    let mut ranges = config.reserved.all(config.nr_reserved)?.iter().map(reserved);
    let reserved =
        memory.many(count(config.nr_reserved)?, |_| ranges.next().ok_or(Errno::EINVAL)?)?;
    let mut frames = config.unreachable.all(config.nr_unreachable)?.iter().map(unreachable);
    let unreachable =
        memory.many(count(config.nr_unreachable)?, |_| frames.next().ok_or(Errno::EINVAL)?)?;
    let quarantine = match config.quarantine.is_null() {
        true => None,
        false => Some(&config.quarantine.open()?.iommu),
    };
    let tables = match u8::try_from(config.levels) {
        Ok(0) => None,
        Ok(levels) => Some(TableShape { format: format(config.format)?, levels }),
        Err(_) => return Err(Errno::EINVAL.into()),
    };
    let machine = pviommu_hypervisor::Machine {
        units,
        tables,
        devices,
        sources,
        quarantine,
        cpus,
        faults: config.faults.into(),
        reserved,
        unreachable,
    };
    let iommu = Iommu::new(Embedder { calls, context, units: drivers }, machine)?;
    Ok(memory.one(Machine { magic: AtomicU64::new(Machine::MAGIC), iommu })?)
}

/// How many bytes [`pviommu_machine_init`] needs.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_machine_size(config: In<MachineConfig>, bytes: Out<usize>) -> c_int {
    ended(|| bytes.write(size(&config.read()?)?))
}

/// Makes the service.
///
/// # Safety
///
/// The functions of `platform` do what the header says of them, on any CPU and at the same time, with this
/// `context`; and so do the units that are told of.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pviommu_machine_init(
    memory: Lent,
    bytes: usize,
    config: In<MachineConfig>,
    platform: In<PlatformTable>,
    context: *mut c_void,
    machine: Out<Shared<Machine>>,
    why: Out<c_char>,
    why_size: usize,
) -> c_int {
    let make = || {
        machine.check()?;
        let (config, calls) = (config.read()?, platform.read()?);
        let mut memory = memory.cut(bytes, size(&config)?)?;
        let made = build(&config, (calls, context), &mut memory)?;
        // SAFETY: it was made in memory that is the object's (promise of `Lent`).
        Ok(machine.write(unsafe { Shared::new(made) })?)
    };
    let made: Result<(), Refusal> = make();
    let mut text = Text::new(why, why_size);
    if let Err(refusal) = &made {
        let _ = write!(text, "{refusal}");
    }
    ended(|| made.map_err(|refusal| refusal.errno()))
}
