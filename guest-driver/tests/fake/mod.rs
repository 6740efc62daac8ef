//! A hypervisor that keeps what is mapped, and goes wrong where it is told to.
//!
//! Each thread has one of its own, until it enters another's. What devices reach is what is mapped,
//! and what was unmapped without a flush since then.

mod batch;
pub(crate) mod machine;
pub(crate) mod queries;
pub(crate) mod tables;

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};

use pviommu_abi::{Errno, PciDevice, Subop};
use pviommu_guest::Hypercall;
use pviommu_guest::dma::Kernel;
use pviommu_guest::hypercall::check;

pub(crate) use self::machine::Machine;
pub(crate) use self::tables::Page;

/// The greatest address of a device with 32 address bits.
pub(crate) const REACH_32: u64 = 0xffff_ffff;
/// The device that every machine has.
pub(crate) const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };

thread_local! {
    static HERE: RefCell<Arc<Mutex<Machine>>> = RefCell::default();
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// Looks at this thread's machine, or changes it.
pub(crate) fn machine<R>(call: impl FnOnce(&mut Machine) -> R) -> R {
    let here = HERE.with_borrow(Arc::clone);
    let mut machine = here.lock().unwrap_or_else(PoisonError::into_inner);
    call(&mut machine)
}

/// This thread's machine, for other threads.
#[derive(Clone, Debug)]
pub(crate) struct Here(Arc<Mutex<Machine>>);

impl Here {
    pub(crate) fn get() -> Self {
        Self(HERE.with_borrow(Arc::clone))
    }

    /// From now on this thread is a CPU of that machine.
    pub(crate) fn enter(&self, cpu: usize) {
        HERE.set(Arc::clone(&self.0));
        CPU.set(cpu);
    }
}

/// A kernel on this thread's machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call;

impl Hypercall for Call {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        assert_eq!(check(subop, arg, buffer.as_deref()), Ok(()));
        machine(|machine| machine.answer(subop, arg, buffer))
    }
}

impl Kernel for Call {
    fn cpu(&self) -> usize {
        CPU.get()
    }

    fn now_us(&self) -> u64 {
        machine(|machine| machine.now_us)
    }
}

/// The return value of a call.
fn ret(outcome: Result<(), Errno>) -> i64 {
    outcome.err().map_or(0, Errno::to_ret)
}
