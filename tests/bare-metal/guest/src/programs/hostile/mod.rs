//! Calls that no driver makes: any subop with any argument, at addresses that are wrong in every way.
//!
//! Nobody here knows what each should answer; that the hypervisor is still there, and serves a call that is
//! right, is what is asked. It looks itself at what is left behind. Pointers lead to pages that are kept for
//! this, or to where the guest has no memory: what is written there must not be this program.
#![expect(unsafe_code, reason = "hypercalls with wrong addresses")]

mod almost;
mod chance;

use core::sync::atomic::{AtomicU64, Ordering};

use chance::Chance;
use pviommu_abi::{
    AllocFlags, Bfn, ContextId, DomId, Errno, FreeFlags, HYPERCALL_IOMMU_OP, MapFlags, Subop,
    argument,
};
use pviommu_guest::{Error, IommuClient, Vmmcall};

use crate::{
    check::{check, check_eq},
    clock,
    edu::Edu,
    memory::{PAGE, Shared},
    xen::{halt, hypercall, tell, transport},
};

const CALLS: usize = 20_000;
/// Pages that pointers lead to, and as many behind that are written by whoever goes on from there.
const PLAYGROUND: usize = 16;
/// Where this guest's memory ends.
const MEMORY_END: u64 = 16 << 20;
/// The subops are below; those of others are not.
const SUBOPS: u64 = 0x50;

struct Attack {
    chance: Chance,
    playground: Shared,
}

impl Attack {
    fn words(&self) -> u64 {
        (PLAYGROUND * PAGE / 8) as u64
    }

    /// An address in the playground, of a word.
    fn within(&mut self) -> u64 {
        let word = self.chance.below(self.words());
        self.playground.address() + word * 8
    }

    /// A value that fields of structures may have. None is an address within this image.
    fn value(&mut self) -> u64 {
        let chance = &mut self.chance;
        match chance.below(12) {
            0..=3 => 0,
            4 => chance.below(8),
            5 => chance.below(4096),
            6 => chance.below(8) | chance.below(64) << 32,
            7 => u64::MAX >> chance.below(16),
            8 => chance.any() | 1 << 63,
            9 => self.playground.frame(0).0 + chance.below(PLAYGROUND as u64),
            10 => u64::from(DomId::SELF.0) << 32 | u64::from(DomId::SELF.0),
            _ => self.within(),
        }
    }

    /// Where an argument may be said to be, and is not: it crosses into nothing, wraps, or is nowhere.
    fn nowhere(&mut self, size: u64) -> u64 {
        let chance = &mut self.chance;
        match chance.below(8) {
            0 => MEMORY_END - chance.below(size),
            1 => MEMORY_END,
            2 => 0u64.wrapping_sub(1 + chance.below(size)),
            3 => 1 << 47 | chance.any(),
            4 => chance.any() | 1 << 63,
            5 => 0xfee0_0000 + chance.below(4096),
            6 => 0xffff_8000_0000_0000 | self.playground.address(),
            _ => (MEMORY_END << chance.below(20)) + chance.below(4096),
        }
    }

    fn subop(&mut self) -> Subop {
        match self.chance.below(20) {
            0 => Subop(self.chance.any() as u32),
            1 => Subop(self.chance.below(SUBOPS) as u32),
            // Those that are served, mostly.
            choice if choice < 12 => Subop(0x40 + self.chance.below(8) as u32),
            _ => Subop(self.chance.below(14) as u32),
        }
    }

    /// One call, and what it answered.
    fn call(&mut self) -> i64 {
        if self.chance.one_in(2) {
            let at = self.chance.below(self.words() - 64);
            let subop = self.almost(at);
            return self.issue(subop.0.into(), self.playground.address() + at * 8);
        }
        let subop = self.subop();
        let size = argument::info(subop).map_or(64, |info| info.size as u64).max(8);
        let at =
            if self.chance.one_in(6) { self.nowhere(size) } else { self.argument(subop, size) };
        // In the upper half of a register, too.
        let register =
            u64::from(subop.0) | if self.chance.one_in(16) { self.chance.any() << 32 } else { 0 };
        self.issue(register, at)
    }

    fn issue(&mut self, subop: u64, at: u64) -> i64 {
        let third = self.chance.any();
        // SAFETY: what a call can write is where its argument, or a pointer in it, leads: into the playground
        // and the pages behind it, or to where the guest has no memory.
        unsafe { hypercall(u64::from(HYPERCALL_IOMMU_OP), [subop, at, third]) }
    }

    /// Puts an argument together, maybe across the end of a page, and returns where.
    fn argument(&mut self, subop: Subop, size: u64) -> u64 {
        let straddles = self.chance.one_in(4);
        let first = if straddles {
            // The page table's frames are scrambled, so what follows a page is far from it.
            let page = 1 + self.chance.below(PLAYGROUND as u64 - 2);
            page * (PAGE as u64 / 8) - 1 - self.chance.below(size.div_ceil(8))
        } else {
            self.chance.below(self.words() - 64)
        };
        for word in 0..size.div_ceil(8) {
            let value = self.value();
            self.playground.write((first + word) as usize, value);
        }
        // Else it would be told nothing but that its size is wrong.
        if subop.is_extension() && !self.chance.one_in(8) {
            self.playground.write(first as usize, size);
        }
        // Not even at the begin of a word; then no pointer is one.
        let shift = if self.chance.one_in(10) { self.blank(first, size) } else { 0 };
        self.playground.address() + first * 8 + shift
    }

    /// Fills an argument with the same bytes everywhere, so that it may begin at any of them.
    fn blank(&mut self, first: u64, size: u64) -> u64 {
        let byte = [0, 0xff, 0x80, 0x7f][self.chance.below(4) as usize];
        for word in 0..=size.div_ceil(8) {
            self.playground.write((first + word) as usize, u64::from_ne_bytes([byte; 8]));
        }
        1 + self.chance.below(7)
    }
}

/// Processors that are through with their calls.
static DONE: AtomicU64 = AtomicU64::new(0);
/// Far longer than another processor takes.
const PATIENCE: u64 = 15 * clock::SECOND;

/// Runs it on one of `processors`.
pub fn run(processor: u64, processors: u64) {
    let playground = Shared::take(2 * PLAYGROUND);
    let seed = 0x0123_4567_89ab_cdef << processor;
    let mut attack = Attack { chance: Chance(seed), playground };
    if processor != 0 {
        let strange = attack.calls(|_| ()).1;
        check_eq("every call of the other processor is answered by a status", strange, None);
        DONE.fetch_add(1, Ordering::SeqCst);
        halt();
    }
    let iommu = IommuClient::new(transport());
    check("before, the service is there", iommu.probe().map(|_| ()));
    let edu = Edu::all().next().expect("the guest was given an edu");
    let (served, strange) = attack.calls(|call| meanwhile(&iommu, &edu, call));
    tell(format_args!("{served} of {CALLS} strange calls were served"));
    check_eq("every call is answered by a status", strange, None);
    check_eq("some of them were served", served > 100, true);
    DONE.fetch_add(1, Ordering::SeqCst);
    let all = || DONE.load(Ordering::SeqCst) == processors;
    check_eq("all processors come to an end", clock::wait(PATIENCE, all), true);
    check("so does the device", edu.finish());
    // SAFETY: a hypercall that is not there touches nothing.
    let unknown = unsafe { hypercall(60, [playground.address(); 3]) };
    check_eq("a hypercall that is not there is refused", unknown, Errno::ENOSYS.to_ret());
    check("after, the service is there", iommu.query_capabilities().map(|_| ()));
    for context in 1..=200 {
        // Of those that were allocated some are left.
        let _ = iommu.free_context(ContextId(context), FreeFlags::REATTACH_DEFAULT);
    }
    check("and serves a call that is right", honest(&iommu, playground));
}

/// Now and then the device is moved to one of the contexts that are fought over, and reads there: so that
/// what is mapped and unmapped has somebody to be told to.
fn meanwhile(iommu: &IommuClient<Vmmcall>, edu: &Edu, call: usize) {
    let every = |turns| call.is_multiple_of(turns);
    if every(50) {
        // There may be no such context.
        let context = ContextId((call / 50 % 4) as u16);
        let _ = iommu.reattach_device(edu.device, context);
    }
    if every(250) && !edu.is_busy() {
        edu.start_read((call as u64 / 250 % 16) << 12, 64);
    }
}

impl Attack {
    /// Makes all calls. How many were served, and the first whose answer is no status of the ABI.
    fn calls(&mut self, mut between: impl FnMut(usize)) -> (usize, Option<(usize, i64)>) {
        let (mut served, mut strange) = (0, None);
        for call in 0..CALLS {
            between(call);
            let ret = self.call();
            served += usize::from(ret == 0);
            if ret != 0 && Errno::from_ret(ret).is_none() {
                strange = strange.or(Some((call, ret)));
            }
        }
        (served, strange)
    }
}

fn honest(iommu: &IommuClient<Vmmcall>, playground: Shared) -> Result<(), Error> {
    let context = iommu.alloc_context(AllocFlags::empty())?;
    let flags = MapFlags::READABLE | MapFlags::WRITEABLE;
    iommu.map(context, Bfn(0x777), playground.frame(0), 1, flags).map_err(|error| error.cause)?;
    iommu.unmap(context, Bfn(0x777), 1).map_err(|error| error.cause)?;
    iommu.free_context(context, FreeFlags::empty())
}
