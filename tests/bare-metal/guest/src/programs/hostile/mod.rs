//! Calls that no driver makes: any subop with any argument, at addresses that are wrong in every way.
//!
//! Nobody here knows what each should answer; that the hypervisor is still there, and serves a call that is
//! right, is what is asked. It looks itself at what is left behind. Pointers lead to pages that are kept for
//! this, or to where the guest has no memory: what is written there must not be this program.
#![expect(unsafe_code, reason = "hypercalls with wrong addresses")]

mod almost;
mod chance;

use chance::Chance;
use pviommu_abi::{
    AllocFlags, Bfn, ContextId, DomId, Errno, FreeFlags, HYPERCALL_IOMMU_OP, MapFlags, Subop,
    argument,
};
use pviommu_guest::IommuClient;

use crate::{
    check::{check, check_eq},
    memory::{PAGE, Shared},
    xen::{hypercall, tell, transport},
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

/// Runs it.
pub fn run() {
    let playground = Shared::take(2 * PLAYGROUND);
    let mut attack = Attack { chance: Chance(0x0123_4567_89ab_cdef), playground };
    let iommu = IommuClient::new(transport());
    check("before, the service is there", iommu.probe().map(|_| ()));
    // What is not a status of the ABI.
    let mut strange = None;
    let mut served: u32 = 0;
    for call in 0..CALLS {
        let ret = attack.call();
        served += u32::from(ret == 0);
        if ret != 0 && Errno::from_ret(ret).is_none() {
            strange = strange.or(Some((call, ret)));
        }
    }
    tell(format_args!("{served} of {CALLS} strange calls were served"));
    check_eq("every call is answered by a status", strange, None);
    check_eq("some of them were served", served > 100, true);
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

fn honest(
    iommu: &IommuClient<impl pviommu_guest::Hypercall>,
    playground: Shared,
) -> Result<(), pviommu_guest::Error> {
    let context = iommu.alloc_context(AllocFlags::empty())?;
    let flags = MapFlags::READABLE | MapFlags::WRITEABLE;
    iommu.map(context, Bfn(0x777), playground.frame(0), 1, flags).map_err(|error| error.cause)?;
    iommu.unmap(context, Bfn(0x777), 1).map_err(|error| error.cause)?;
    iommu.free_context(context, FreeFlags::empty())
}
