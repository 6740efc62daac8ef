//! Units that the library drives, in memory that C lends.
#![expect(unsafe_code, reason = "registers and memory of units are what C says they are")]

use core::{
    ffi::{c_int, c_void},
    fmt,
    ptr::NonNull,
    sync::atomic::AtomicU64,
};

use pviommu_abi::Errno;
#[cfg(feature = "amdvi")]
use pviommu_hypervisor::unit::amdvi::AmdVi;
#[cfg(all(feature = "vtd", target_arch = "x86_64"))]
use pviommu_hypervisor::unit::vtd::Vtd;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Mmio, TABLE_ENTRIES, UnitError, UnitMemory},
    unit::{Driver, Event},
};

use crate::{
    config::Facts,
    devices::FaultOf,
    lent::{Cutter, room_for},
    platform::{Host, HostTable},
    pointers::{In, Object, Out, Shared},
    status::ended,
};

/// `struct pviommu_unit`: a unit that is driven.
#[repr(C)]
#[derive(Debug)]
pub struct DrivenUnit {
    magic: AtomicU64,
    driver: Driven,
}

pub(crate) enum Driven {
    #[cfg(all(feature = "vtd", target_arch = "x86_64"))]
    Vtd(Vtd<'static, Mmio, Host>),
    #[cfg(feature = "amdvi")]
    AmdVi(AmdVi<'static>),
}

// SAFETY: `repr(C)`, and the word comes first.
unsafe impl Object for DrivenUnit {
    const MAGIC: u64 = u64::from_le_bytes(*b"pv unit\n");
}

impl fmt::Debug for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(all(feature = "vtd", target_arch = "x86_64"))]
            Self::Vtd(_) => "Vtd",
            #[cfg(feature = "amdvi")]
            Self::AmdVi(_) => "AmdVi",
        })
    }
}

impl DrivenUnit {
    pub(crate) fn new(driver: Driven) -> Self {
        Self { magic: AtomicU64::new(Self::MAGIC), driver }
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        match &self.driver {
            #[cfg(all(feature = "vtd", target_arch = "x86_64"))]
            Driven::Vtd(driver) => driver,
            #[cfg(feature = "amdvi")]
            Driven::AmdVi(driver) => driver,
        }
    }
}

/// `struct pviommu_memory`: frames that follow each other, for a unit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MemoryOf {
    /// Where the library finds them.
    pub words: *mut u64,
    /// Where the unit finds them.
    pub frame: u64,
    /// How many.
    pub pages: usize,
}

/// `struct pviommu_registers`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RegistersOf {
    /// Where they are mapped.
    pub base: *mut u8,
    /// Bytes.
    pub size: usize,
}

/// What `bring_up` of either make needs.
pub(crate) fn size() -> usize {
    let rooms = [room_for::<DrivenUnit>(1), room_for::<Host>(1), room_for::<Mmio>(1)];
    rooms.into_iter().flatten().fold(0, usize::saturating_add)
}

/// # Safety
///
/// As for `UnitMemory::new`, of memory that is null or valid and its unit's alone.
pub(crate) unsafe fn memory(lent: MemoryOf) -> Result<UnitMemory<'static>, Errno> {
    let words = lent.pages.checked_mul(TABLE_ENTRIES).ok_or(Errno::EINVAL)?;
    let bytes = words.checked_mul(8).filter(|it| isize::try_from(*it).is_ok());
    let first = lent.words.cast::<AtomicU64>();
    if first.is_null() || !first.is_aligned() || bytes.is_none() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise; aligned, and not longer than half of the address space.
    let words = unsafe { core::slice::from_raw_parts(first, words) };
    // SAFETY: the caller's promise.
    unsafe { UnitMemory::new(words, Mfn(lent.frame)) }.ok_or(Errno::EINVAL)
}

/// # Safety
///
/// As for `Mmio::new`.
pub(crate) unsafe fn registers(of: RegistersOf) -> Result<Mmio, Errno> {
    let base =
        NonNull::new(of.base).filter(|it| it.cast::<u64>().is_aligned()).ok_or(Errno::EINVAL)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { Mmio::new(base, of.size) })
}

pub(crate) fn host(
    calls: In<HostTable>,
    context: *mut c_void,
    memory: &mut Cutter,
) -> Result<&'static Host, Errno> {
    let calls = calls.read()?;
    if calls.now_us.is_none() {
        return Err(Errno::EINVAL);
    }
    Ok(memory.one(Host { calls, context })?)
}

/// `struct pviommu_event`: what a unit has recorded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EventOf {
    /// `PVIOMMU_EVENT_*`.
    pub kind: u32,
    /// Of `PVIOMMU_EVENT_UNIT`, what went wrong, by the code of its specification.
    pub code: u32,
    /// Of `PVIOMMU_EVENT_FAULT`.
    pub fault: FaultOf,
}

/// How many bytes `pviommu_vtd_bring_up` and `pviommu_amdvi_bring_up` need.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_size() -> usize {
    size()
}

/// What a unit can do.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_facts(unit: Shared<DrivenUnit>, facts: Out<Facts>) -> c_int {
    ended(|| facts.write(unit.open()?.driver().facts().into()))
}

/// Takes the oldest thing out of what a unit has recorded.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_next_event(unit: Shared<DrivenUnit>, event: Out<EventOf>) -> c_int {
    ended(|| {
        event.check()?;
        let fault = FaultOf::default();
        let told = match unit.open()?.driver().next_event().ok_or(Errno::ENOENT)? {
            Event::Fault(of) => {
                let (source, access) = (of.source.0, u32::from(of.access.bits()));
                let (address, reason) = (of.address, of.reason.0);
                let fault = FaultOf { address, source, access, reason, reserved: 0 };
                EventOf { kind: 0, code: 0, fault }
            }
            Event::Unit(code) => EventOf { kind: 2, code, fault },
            _ => EventOf { kind: 1, code: 0, fault },
        };
        event.write(told)
    })
}

/// 1 if no interrupt passes that is not remapped, 0 if one may.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_isolates_interrupts(unit: Shared<DrivenUnit>) -> c_int {
    ended(|| Ok(c_int::from(unit.open()?.driver().isolates_interrupts())))
}

fn answer(done: Result<(), UnitError>) -> Result<(), Errno> {
    done.map_err(|UnitError| Errno::EIO)
}

/// Before the machine sleeps.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_suspend(unit: Shared<DrivenUnit>) -> c_int {
    ended(|| answer(unit.open()?.driver().suspend()))
}

/// After the machine slept.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_resume(unit: Shared<DrivenUnit>) -> c_int {
    ended(|| answer(unit.open()?.driver().resume()))
}

/// Leaves the unit to the kernel that runs after a crash.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_crash_shutdown(unit: Shared<DrivenUnit>) -> c_int {
    ended(|| {
        unit.open()?.driver().crash_shutdown();
        Ok(())
    })
}
