//! Names, scheduling and policy; and what drivers of units need of the machine.
#![expect(unsafe_code, reason = "C vouches for its functions")]

use core::{
    ffi::{c_int, c_void},
    sync::atomic::AtomicU64,
};

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    DomainIommu,
    platform::{self, AccessPolicy, Devices, Domains, PolicyDenied, Preempt},
};

use super::{Embedder, done};

/// `struct pviommu_operation`: what a caller is about to do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Who asks.
    pub caller: u16,
    /// Whose contexts it is about.
    pub target: u16,
    /// Whose pages are to be mapped, if not the target's; else `PVIOMMU_DOMID_INVALID`.
    pub owner: u16,
    /// Not 0 if `device` is one.
    pub has_device: u16,
    /// What is asked.
    pub subop: u32,
    /// The device concerned.
    pub device: PciDevice,
}

impl Devices for Embedder {
    fn resolve(&self, domain: DomId, name: PciDevice) -> Option<PciDevice> {
        let resolve = self.calls.resolve?;
        let mut function = name;
        // SAFETY: the header's promise of this function, which may write a function there.
        let status = unsafe { resolve(self.context, domain.0, name, &mut function) };
        done(status).then_some(function)
    }

    fn name_of(&self, domain: DomId, function: PciDevice) -> Option<PciDevice> {
        let Some(name_of) = self.calls.name_of else {
            return self.resolve(domain, function).filter(|meant| *meant == function);
        };
        let mut name = function;
        // SAFETY: the header's promise of this function, which may write a name there.
        let status = unsafe { name_of(self.context, domain.0, function, &mut name) };
        done(status).then_some(name)
    }
}

impl Domains for Embedder {
    fn with_domain(&self, domain: DomId, act: &mut dyn FnMut(&DomainIommu<'_>)) -> bool {
        let (Some(get), Some(put)) = (self.calls.get_domain, self.calls.put_domain) else {
            return false;
        };
        // SAFETY: the header's promise of this function.
        let found = unsafe { get(self.context, domain.0) };
        if found.is_null() {
            return false;
        }
        let opened = found.open().is_ok_and(|it| {
            let same = it.iommu.id() == domain;
            if same {
                act(&it.iommu);
            }
            same
        });
        // SAFETY: as above; it is what `get_domain` found.
        unsafe { put(self.context, found) };
        opened
    }
}

impl Preempt for Embedder {
    fn should_yield(&self) -> bool {
        let Some(should_yield) = self.calls.should_yield else { return false };
        // SAFETY: the header's promise of this function.
        unsafe { should_yield(self.context) != 0 }
    }
}

impl AccessPolicy for Embedder {
    fn allow(&self, operation: &platform::Operation) -> Result<(), PolicyDenied> {
        let Some(allow) = self.calls.allow else { return Ok(()) };
        let operation = Operation {
            caller: operation.caller.0,
            target: operation.target.0,
            owner: operation.owner.unwrap_or(DomId::INVALID).0,
            has_device: u16::from(operation.device.is_some()),
            subop: operation.subop.0,
            device: operation.device.unwrap_or_default(),
        };
        // SAFETY: the header's promise of this function; the operation lives until it returns.
        let status = unsafe { allow(self.context, &operation) };
        if done(status) { Ok(()) } else { Err(PolicyDenied) }
    }
}

/// `struct pviommu_host`: what the driver of a unit needs of the machine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says it")]
pub struct HostTable {
    pub now_us: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub write_back: Option<unsafe extern "C" fn(*mut c_void, *const c_void, usize)>,
    pub device_settings: Option<unsafe extern "C" fn(*mut c_void, u16, *mut u8, *mut u32) -> c_int>,
}

/// The machine below a driver.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) calls: HostTable,
    pub(crate) context: *mut c_void,
}

// SAFETY: the header says that these functions, with this context, are called on any CPU and at the same time.
unsafe impl Sync for Host {}
// SAFETY: as above.
unsafe impl Send for Host {}

impl platform::Host for Host {
    fn now_us(&self) -> u64 {
        let Some(now) = self.calls.now_us else { return u64::MAX };
        // SAFETY: the header's promise of this function.
        unsafe { now(self.context) }
    }

    fn write_back(&self, words: &[AtomicU64]) {
        let Some(write_back) = self.calls.write_back else { return };
        let (from, bytes) = (words.as_ptr().cast::<c_void>(), size_of_val(words));
        // SAFETY: the header's promise of this function, which is given `bytes` bytes.
        unsafe { write_back(self.context, from, bytes) };
    }
}
