//! The service calls: a guest's hypercalls, pages that change, the end of a domain.
#![expect(unsafe_code, reason = "symbols that C links to have names of their own")]

use core::{ffi::c_int, mem::MaybeUninit};

use pviommu_abi::{Errno, Gfn};
use pviommu_hypervisor::{
    Backing, Caller, Outcome, P2mChange, Sweep, Width,
    addr::{GfnRange, Mfn, MfnRange},
};

use crate::{
    config::{Range, access, default_map},
    domain::Domain,
    machine::Machine,
    pointers::{In, Out, Shared},
    status::{Status, ended},
};

/// What a call goes on from, in memory of C's that only the library writes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Kept<T: Copy> {
    magic: u64,
    value: MaybeUninit<T>,
}

/// `struct pviommu_sweep`.
pub type KeptSweep = Kept<Sweep>;
/// `struct pviommu_p2m_change`.
pub type KeptChange = Kept<P2mChange>;

// As the header has them.
const _: () = assert!(size_of::<KeptSweep>() <= 64 && align_of::<KeptSweep>() <= 8);
const _: () = assert!(size_of::<KeptChange>() <= 128 && align_of::<KeptChange>() <= 8);

/// By what a value that was made is known.
const KEPT: u64 = u64::from_le_bytes(*b"pv kept\n");

impl<T: Copy> Kept<T> {
    fn new(value: T) -> Self {
        Self { magic: KEPT, value: MaybeUninit::new(value) }
    }
}

impl<T: Copy> Out<Kept<T>> {
    /// Has `call` go on from what is there, and keeps how far it came.
    fn go_on<S>(self, call: impl FnOnce(&mut T) -> Result<S, Errno>) -> Result<S, Errno> {
        let kept = self.read()?;
        if kept.magic != KEPT {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the word says that it was made, and only the library writes it (the header's promise).
        let mut value = unsafe { kept.value.assume_init() };
        let ended = call(&mut value);
        self.write(Kept::new(value))?;
        ended
    }
}

/// `struct pviommu_backing`: what backs guest frames.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BackedBy {
    /// The frame of the first; the others follow on.
    pub first: u64,
    /// What devices may do there.
    pub access: u32,
    /// Not 0 for registers of devices.
    pub mmio: u32,
}

fn cpu(number: u32) -> usize {
    // One that does not fit is none.
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Has the service do something for a domain.
pub(crate) fn for_domain<S: Status>(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    act: impl FnOnce(&'static Machine, &'static Domain) -> Result<S, Errno>,
) -> c_int {
    ended(|| act(machine.open()?, domain.open()?))
}

fn caller(number: u32, width: u32) -> Result<Caller, Errno> {
    let width = match width {
        32 => Width::Bits32,
        64 => Width::Bits64,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Caller { cpu: cpu(number), width })
}

/// Serves `iommu_op`.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_iommu_op(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    cpu: u32,
    width: u32,
    subop: u64,
    arg: u64,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        Ok(machine.iommu.iommu_op(&domain.iommu, caller(cpu, width)?, subop, arg))
    })
}

/// Serves `XENMEM_reserved_device_memory_map`.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_reserved_device_memory_map(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    cpu: u32,
    width: u32,
    arg: u64,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        let caller = caller(cpu, width)?;
        Ok(machine.iommu.reserved_device_memory_map(&domain.iommu, caller, arg))
    })
}

/// Gives a domain the map it starts with.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_set_default(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    map: u32,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        Ok(machine.iommu.set_default(&domain.iommu, cpu(number), default_map(map)?))
    })
}

/// Begins a change of a P2M.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_p2m_change_init(
    change: Out<KeptChange>,
    gfn: u64,
    pages: u64,
    old: In<u64>,
    new: In<BackedBy>,
) -> c_int {
    ended(|| {
        let gfns = GfnRange::of_pages(Gfn(gfn), pages).ok_or(Errno::EINVAL)?;
        let new = match new.optional()? {
            Some(BackedBy { first, access: bits, mmio }) => {
                Some(Backing { first: Mfn(first), access: access(bits)?, mmio: mmio != 0 })
            }
            None => None,
        };
        change.write(Kept::new(P2mChange::new(gfns, old.optional()?.map(Mfn), new)))
    })
}

/// Carries a change of a P2M over.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_p2m_changed(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    change: Out<KeptChange>,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        change.go_on(|change| Ok(machine.iommu.p2m_changed(&domain.iommu, cpu(number), change)))
    })
}

/// Begins a sweep.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_sweep_init(sweep: Out<KeptSweep>) -> c_int {
    ended(|| sweep.write(Kept::new(Sweep::default())))
}

/// Most ranges of one call of [`pviommu_retarget`].
const RANGES: usize = 16;

/// Takes every mapping of some frames out of all contexts of a domain.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_retarget(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    ranges: In<Range>,
    nr_ranges: u32,
    sweep: Out<KeptSweep>,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        let ranges = ranges.all(nr_ranges)?;
        let first = ranges.first().ok_or(Errno::EINVAL)?.frames::<Mfn>()?;
        let mut room = [first; RANGES];
        let frames = room.get_mut(..ranges.len()).ok_or(Errno::E2BIG)?;
        for (to, range) in frames.iter_mut().zip(ranges) {
            *to = range.frames()?;
        }
        sweep.go_on(|sweep| Ok(machine.iommu.retarget(&domain.iommu, cpu(number), frames, sweep)))
    })
}

/// Takes every mapping of some registers out of all contexts of a domain.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_revoke_mmio(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    frames: In<Range>,
    sweep: Out<KeptSweep>,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        let frames: MfnRange = frames.read()?.frames()?;
        sweep
            .go_on(|sweep| Ok(machine.iommu.revoke_mmio(&domain.iommu, cpu(number), frames, sweep)))
    })
}

/// Gives tables without entries back.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_trim(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    sweep: Out<KeptSweep>,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        sweep.go_on(|sweep| Ok(machine.iommu.trim(&domain.iommu, cpu(number), sweep)))
    })
}

/// Flushes what waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_flush_deferred(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        Ok(machine.iommu.flush_deferred(&domain.iommu, cpu(number)))
    })
}

/// Takes everything from a dying domain.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_teardown(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
) -> c_int {
    for_domain(machine, domain, |machine, domain| -> Result<Outcome, Errno> {
        Ok(machine.iommu.teardown(&domain.iommu, cpu(number)))
    })
}
