//! A device that copies: by bus frames it reaches what is mapped for it, in order, and nothing else.

use pviommu_abi::{Background, Bfn, ContextId, Errno, Gfn};
use pviommu_guest::{
    Error, Hypercall, IommuClient,
    dma::{Deferral, Direction, DmaSpace, DmaStorage, Piece},
};

use super::{faults, waiting};
use crate::{
    check::{check, check_eq},
    edu::{Edu, MOST},
    kernel::{self, Metal},
    memory::{PAGE, Shared},
    xen::transport,
};

/// Two CPUs may share it, and one is here.
static STORAGE: DmaStorage<256, 2> = DmaStorage::new();
/// Where in its pages the device begins: what it copies crosses from one to the next.
const OFFSET: usize = 1000;
const PAGES: usize = 4;
/// Pages of the longest range: most of the guest's memory.
const LONG: u64 = 3000 * PAGE as u64;
/// When unmaps that wait are made: the device takes far longer for one copy.
const DEFERRAL: Deferral = Deferral { unmaps: 64, microseconds: 1000 };

/// A context of its own for a device.
pub fn context_for<H: Hypercall>(
    iommu: &IommuClient<H>,
    device: pviommu_abi::PciDevice,
    background: Background,
) -> Result<ContextId, Error> {
    iommu.probe()?;
    let context = iommu.alloc_context_ext(background, None)?;
    iommu.reattach_device(device, context)?;
    Ok(context)
}

/// Runs it with the first such device.
pub fn run(told: bool) {
    let iommu = IommuClient::new(transport());
    let edu = Edu::all().next().expect("the guest was given an edu");
    let space = DmaSpace::open(Metal::new(), &STORAGE).expect("there is a service");
    let space = space.with_deferral(DEFERRAL);
    let context = space.context();
    let device = space.attach(edu.device, u64::MAX).expect("it can be moved");
    let place = device.isolation().map(|info| info.place.map(|place| place.context));
    check_eq("edu is in the context of its own", place, Ok(Some(context)));
    let memory = Shared::take(PAGES);
    for word in 0..PAGES * PAGE / 8 {
        memory.write(word, pattern(word));
    }
    // The pages in the wrong order, so that not even guest frames follow each other.
    let reversed: [Piece; PAGES] = core::array::from_fn(|page| memory.page(PAGES - 1 - page));
    let calls = kernel::calls();
    let from = device.map(reversed, Direction::ToDevice).expect("it can be mapped");
    check_eq("scattered pages are one call", kernel::calls() - calls, 1);
    check_eq("and one range of the bus", from.segments().count(), 1);
    let to = Shared::take(PAGES);
    let into = device.map(to, Direction::FromDevice).expect("it can be mapped");
    let (from_address, into_address) = (from.address(), into.address());

    // A word less than the most, because words are compared.
    let bytes = MOST / 8 * 8;
    check("edu reads its buffer", edu.read(from_address + OFFSET as u64, bytes));
    check("edu writes its buffer", edu.write(into_address + OFFSET as u64, bytes));
    let moved = |word: usize| {
        let (page, within) = (word / (PAGE / 8), word % (PAGE / 8));
        pattern((PAGES - 1 - page) * (PAGE / 8) + within)
    };
    let first = OFFSET / 8;
    let wrong = (0..PAGES * PAGE / 8).find(|word| {
        let copied = (first..first + bytes / 8).contains(word);
        to.read(*word) != if copied { moved(*word) } else { 0 }
    });
    check_eq("every word is where its bus frame is", wrong, None);

    // It may read here, and not write; and there write, and not read.
    check("edu writes what it may only read", edu.write(from_address, bytes));
    let intact = (0..PAGES * PAGE / 8).all(|word| memory.read(word) == pattern(word));
    check_eq("read-only memory stays as it is", intact, true);

    faults::forget(&iommu);
    check("unmap", into.unmap());
    to.fill(7);
    check("edu writes to what was unmapped", edu.write(into_address, bytes));
    check_eq("nothing arrives there", (0..PAGES).all(|page| to.page_is(page, 7)), true);
    if told {
        check("the guest is told of it", faults::expect(&iommu, edu.device, into_address));
    }

    faults::forget(&iommu);
    check("edu writes to a guest address", edu.write(to.address(), bytes));
    check_eq(
        "nothing arrives at a guest address",
        (0..PAGES).all(|page| to.page_is(page, 7)),
        true,
    );
    if told {
        check("the guest is told of that", faults::expect(&iommu, edu.device, to.address()));
    }

    // Long enough that the hypervisor gives way on the way there, and back.
    let all = Piece { address: 0, length: LONG };
    let all = device.map(all, Direction::ToDevice).expect("it can be mapped");
    let in_it = all.address() + memory.address();
    check("edu reads in a long range", edu.read(in_it, bytes));
    check("unmap the long range", all.unmap());

    // The same bus frames, and other memory.
    let other = Shared::take(PAGES);
    let again = device.map(other, Direction::FromDevice).expect("it can be mapped");
    check_eq("the same bus frames come again", again.address(), into_address);
    check("edu writes to memory mapped anew", edu.write(again.address(), bytes));
    check_eq("it arrives", other.read(0), memory.read(0));
    check_eq("and only there", (0..PAGES).all(|page| to.page_is(page, 7)), true);
    check("unmap again", again.unmap());

    waiting::run(&space, &edu, told);

    check("unmap the rest", from.unmap());
    let found = iommu.lookup(context, Bfn::containing(from_address));
    check_eq("nothing is mapped", found.map(|found| found.gfn), absent());
    check_eq("no page was lost", space.lost_pages(), 0);
    check("detach", device.detach());
    check("close", space.close());
    let gone = iommu.query_limits(context).map(|limits| limits.ctx_id);
    check_eq("its context is gone", gone, Err(Error::Refused(Errno::ENOENT)));
}

/// What a look-up of a bus frame without a mapping says.
pub const fn absent() -> Result<Option<Gfn>, Error> {
    Err(Error::Refused(Errno::ENOENT))
}

const fn pattern(word: usize) -> u64 {
    (word as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
