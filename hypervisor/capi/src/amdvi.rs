//! Bringing an AMD-Vi unit up.
#![expect(unsafe_code, reason = "registers and memory of units are what C says they are")]

use core::ffi::{c_int, c_void};

use pviommu_abi::Errno;
use pviommu_hypervisor::unit::{
    acpi::{DeviceSettings, IvInfo, IvhdFlags},
    amdvi::{AmdVi, BringUpError, Interrupts, IrqEntries, Quirks, Resources, Settings},
};

use crate::{
    lent::Lent,
    platform::{Host, HostTable},
    pointers::{In, Out, Shared},
    status::ended,
    unit::{Driven, DrivenUnit, MemoryOf, RegistersOf, host, memory, registers, size},
};

/// `struct pviommu_amdvi_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AmdViConfig {
    /// The registers.
    pub registers: RegistersOf,
    /// The device table.
    pub device_table: MemoryOf,
    /// The command buffer.
    pub commands: MemoryOf,
    /// The event log.
    pub events: MemoryOf,
    /// A word for each CPU.
    pub status: MemoryOf,
    /// The longest wait.
    pub timeout_us: u64,
    /// Extended features that firmware tells, if `has_extended_features` is not 0.
    pub extended_features: u64,
    /// CPUs that may use it at the same time.
    pub cpus: u32,
    /// The first word of its capability block.
    pub header: u32,
    /// IVinfo of firmware's table.
    pub iv_info: u32,
    /// `PVIOMMU_AMDVI_QUIRK_*`.
    pub quirks: u32,
    /// The segment of the devices behind it.
    pub segment: u16,
    /// Flags of its IVHD.
    pub ivhd_flags: u8,
    /// Not 0: `extended_features` are told.
    pub has_extended_features: u8,
    /// Not 0: interrupts are refused until something else is said; else they pass.
    pub refuse_interrupts: u8,
    /// 0.
    pub reserved: [u8; 3],
}

fn errno(error: BringUpError) -> Errno {
    match error {
        BringUpError::Absent => Errno::ENODEV,
        BringUpError::Unsupported => Errno::EOPNOTSUPP,
        BringUpError::Ring(_) => Errno::ENOMEM,
        BringUpError::NoAnswer => Errno::EIO,
        _ => Errno::EINVAL,
    }
}

/// What firmware wants of the entry of an id, if the embedder says something of that.
fn settings_of(host: &Host, id: u16) -> Option<DeviceSettings> {
    let ask = host.calls.device_settings?;
    let (mut data, mut extended) = (0, 0);
    // SAFETY: the header's promise of this function, which may write numbers there.
    let status = unsafe { ask(host.context, id, &mut data, &mut extended) };
    (status == 0).then_some(DeviceSettings { data, extended })
}

/// Switches an AMD-Vi unit on; nothing passes.
///
/// # Safety
///
/// The registers and the memory are those of a unit, mapped and the unit's alone as the header says; the
/// functions of `calls` do what it says of them, on any CPU and at the same time, with this `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pviommu_amdvi_bring_up(
    room: Lent,
    bytes: usize,
    config: In<AmdViConfig>,
    calls: In<HostTable>,
    context: *mut c_void,
    unit: Out<Shared<DrivenUnit>>,
) -> c_int {
    ended(|| {
        unit.check()?;
        let config = config.read()?;
        let mut room = room.cut(bytes, size())?;
        let host = host(calls, context, &mut room)?;
        // SAFETY: the caller's promise.
        let registers = room.one(unsafe { registers(config.registers) }?)?;
        // SAFETY: as above.
        let device_table = unsafe { memory(config.device_table) }?;
        // SAFETY: as above.
        let commands = unsafe { memory(config.commands) }?;
        // SAFETY: as above.
        let events = unsafe { memory(config.events) }?;
        // SAFETY: as above.
        let status = unsafe { memory(config.status) }?;
        let told = config.has_extended_features != 0;
        let settings = Settings {
            segment: config.segment,
            cpus: usize::try_from(config.cpus).map_err(|_| Errno::EINVAL)?,
            header: config.header,
            info: IvInfo(config.iv_info),
            flags: IvhdFlags::from_bits_retain(config.ivhd_flags),
            extended_features: told.then_some(config.extended_features),
            quirks: Quirks::from_bits(config.quirks).ok_or(Errno::EINVAL)?,
            interrupt_entries: IrqEntries::default(),
            interrupts: match config.refuse_interrupts {
                0 => Interrupts::Pass,
                _ => Interrupts::Refuse,
            },
            timeout_us: config.timeout_us,
        };
        let resources = Resources { registers, host, device_table, commands, events, status };
        let driver = AmdVi::bring_up(resources, &settings, |id| settings_of(host, id));
        let made = room.one(DrivenUnit::new(Driven::AmdVi(driver.map_err(errno)?)))?;
        // SAFETY: it was made in memory that is the object's (promise of `Lent`).
        unit.write(unsafe { Shared::new(made) })
    })
}
