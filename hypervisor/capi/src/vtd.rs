//! Bringing a VT-d unit up.
#![expect(unsafe_code, reason = "registers and memory of units are what C says they are")]

use core::ffi::{c_int, c_void};

use pviommu_abi::Errno;
use pviommu_hypervisor::unit::vtd::{BringUpError, Quirks, Settings, Vtd, VtdMemory};

use crate::{
    lent::Lent,
    platform::HostTable,
    pointers::{In, Out, Shared},
    status::ended,
    unit::{Driven, DrivenUnit, MemoryOf, RegistersOf, host, memory, registers, size},
};

/// `struct pviommu_vtd_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VtdConfig {
    /// The registers.
    pub registers: RegistersOf,
    /// The root table: one page.
    pub root: MemoryOf,
    /// Context tables: a page for each bus with devices.
    pub contexts: MemoryOf,
    /// The queue.
    pub queue: MemoryOf,
    /// A word for each CPU.
    pub status: MemoryOf,
    /// The longest wait.
    pub timeout_us: u64,
    /// CPUs that may use it at the same time.
    pub cpus: u32,
    /// The segment of the devices behind it.
    pub segment: u16,
    /// `PVIOMMU_VTD_QUIRK_*`.
    pub quirks: u16,
    /// Bits of the machine's addresses.
    pub host_address_bits: u8,
    /// 0.
    pub reserved: [u8; 7],
}

fn errno(error: BringUpError) -> Errno {
    match error {
        BringUpError::Absent => Errno::ENODEV,
        BringUpError::NoQueue | BringUpError::NoCommonWidth(_) => Errno::EOPNOTSUPP,
        BringUpError::TooSmall { .. } => Errno::ENOMEM,
        BringUpError::OtherMode(_) => Errno::EBUSY,
        BringUpError::NoAnswer(_) => Errno::EIO,
        _ => Errno::EINVAL,
    }
}

/// Switches a VT-d unit on; nothing passes.
///
/// # Safety
///
/// The registers and the memory are those of a unit, mapped and the unit's alone as the header says; the
/// functions of `calls` do what it says of them, on any CPU and at the same time, with this `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pviommu_vtd_bring_up(
    room: Lent,
    bytes: usize,
    config: In<VtdConfig>,
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
        let registers = unsafe { registers(config.registers) }?;
        // SAFETY: as above.
        let root = unsafe { memory(config.root) }?;
        // SAFETY: as above.
        let contexts = unsafe { memory(config.contexts) }?;
        // SAFETY: as above.
        let queue = unsafe { memory(config.queue) }?;
        // SAFETY: as above.
        let status = unsafe { memory(config.status) }?;
        let settings = Settings {
            segment: config.segment,
            cpus: usize::try_from(config.cpus).map_err(|_| Errno::EINVAL)?,
            quirks: Quirks::from_bits(config.quirks).ok_or(Errno::EINVAL)?,
            timeout_us: config.timeout_us,
            host_address_bits: config.host_address_bits,
        };
        let lent = VtdMemory { root, contexts, queue, status };
        let driver = Vtd::bring_up(registers, host, lent, settings).map_err(errno)?;
        let made = room.one(DrivenUnit::new(Driven::Vtd(driver)))?;
        // SAFETY: it was made in memory that is the object's (promise of `Lent`).
        unit.write(unsafe { Shared::new(made) })
    })
}
