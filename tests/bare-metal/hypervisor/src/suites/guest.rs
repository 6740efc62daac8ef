//! A guest without a virtual machine: the suite itself plays it, with arguments in the guest's memory and
//! hypercalls through the hypervisor's own handler.

use core::sync::atomic::Ordering;

use pviommu_guest::{
    Hypercall, IommuClient,
    hypercall::{set_pointer, set_pointers},
};
use pviommu_hypervisor::{
    Outcome,
    abi::{Gfn, GuestPtr, HYPERCALL_IOMMU_OP, Subop},
    addr::PAGE_SHIFT,
    platform::GuestMemory,
};

use crate::{
    domains::Domain,
    glue::{Hypervisor, Registers},
    machine::memory::{PAGE, words},
};

/// Pages at the end of the guest's memory for arguments, for each processor.
const ARGUMENT_PAGES: u64 = 8;
/// A call that is continued so often makes no progress.
const MOST_ENTRIES: u32 = 1 << 20;

/// A domain, with one of its virtual processors.
#[derive(Clone, Copy)]
pub struct Guest<'h> {
    hypervisor: &'h Hypervisor,
    /// The domain.
    pub domain: &'h Domain,
    /// The processor that makes its calls.
    pub cpu: usize,
    /// What happens whenever a call of it gives way.
    between: Option<&'h dyn Fn()>,
}

impl<'h> Guest<'h> {
    /// The guest of `domain` on `cpu`.
    #[must_use]
    pub const fn new(hypervisor: &'h Hypervisor, domain: &'h Domain, cpu: usize) -> Self {
        Self { hypervisor, domain, cpu, between: None }
    }

    /// The same, of which each call that gives way has `between` done before it goes on.
    #[must_use]
    pub const fn interrupted<'g>(&self, between: &'g dyn Fn()) -> Guest<'g>
    where
        'h: 'g,
    {
        Guest { between: Some(between), ..*self }
    }

    /// The guest's driver.
    #[must_use]
    pub const fn iommu(&self) -> IommuClient<Self> {
        IommuClient::new(*self)
    }

    /// Makes a hypercall until it is done.
    ///
    /// # Panics
    /// If that never happens.
    #[must_use]
    pub fn call(&self, subop: u64, argument: u64) -> i64 {
        let registers =
            Registers { number: u64::from(HYPERCALL_IOMMU_OP), arguments: [subop, argument] };
        for _ in 0..MOST_ENTRIES {
            match self.hypervisor.hypercall(self.domain, self.cpu, registers) {
                Outcome::Done(status) => return status,
                Outcome::Continue => {
                    if let Some(between) = self.between {
                        between();
                    }
                }
            }
        }
        panic!("a hypercall makes no progress");
    }

    /// A word of the guest's memory.
    ///
    /// # Panics
    /// If `gfn` is no memory.
    #[must_use]
    pub fn peek(&self, gfn: Gfn, word: usize) -> u64 {
        self.word(gfn, word).load(Ordering::SeqCst)
    }

    /// Writes a word of the guest's memory.
    ///
    /// # Panics
    /// If `gfn` is no memory.
    pub fn poke(&self, gfn: Gfn, word: usize, value: u64) {
        self.word(gfn, word).store(value, Ordering::SeqCst);
    }

    fn word(&self, gfn: Gfn, word: usize) -> &'static core::sync::atomic::AtomicU64 {
        let frame = self.domain.p2m.frame(gfn).expect("the guest frame is memory");
        words(frame, 1).get(word).expect("a page has so many words")
    }

    /// Fills a page with a pattern of its own.
    pub fn fill(&self, gfn: Gfn, seed: u64) {
        (0..PAGE / 8).for_each(|word| self.poke(gfn, word, seed ^ word as u64));
    }

    /// True if the first `words` words of a page are those of the pattern.
    #[must_use]
    pub fn is_filled(&self, gfn: Gfn, seed: u64, words: usize) -> bool {
        (0..words).all(|word| self.peek(gfn, word) == seed ^ word as u64)
    }
}

impl Hypercall for Guest<'_> {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>) -> i64 {
        let memory = self.hypervisor.iommu.platform();
        let id = self.domain.id;
        // So that the argument is in two pages that are no neighbours in the machine.
        let first = self.domain.p2m.pages() - ARGUMENT_PAGES * (self.cpu as u64 + 1);
        let at = (first << PAGE_SHIFT) + PAGE as u64 - 24;
        let behind = at + (arg.len() as u64).next_multiple_of(8);
        if let Some(buffer) = &mut buffer {
            if set_pointers(subop, arg, buffer, behind).is_err() {
                // What is malformed is so on purpose.
                set_pointer(subop, arg, behind).expect("the call has a pointer");
            }
            memory.copy_out(id, GuestPtr(behind), buffer).expect("arguments are in memory");
        }
        memory.copy_out(id, GuestPtr(at), arg).expect("arguments are in memory");
        let status = self.call(u64::from(subop.0), at);
        // A guest that ended itself has no memory any more.
        let _ = memory.copy_in(id, GuestPtr(at), arg);
        if let Some(buffer) = buffer {
            let _ = memory.copy_in(id, GuestPtr(behind), buffer);
        }
        status
    }
}
