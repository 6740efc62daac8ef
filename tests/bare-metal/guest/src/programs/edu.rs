//! A device that copies: by bus frames it reaches what is mapped for it, in order, and nothing else.

use pviommu_abi::{Background, ContextId, Gfn, MapFlags};
use pviommu_guest::{DeviceSpace, Error, IommuClient, Vmmcall};

use super::faults;
use crate::{
    check::{check, check_eq},
    edu::{Edu, MOST},
    memory::{PAGE, Shared},
    xen::transport,
};

/// Where in its pages the device begins: what it copies crosses from one to the next.
const OFFSET: usize = 1000;
const PAGES: usize = 4;
/// Pages of the longest range: most of the guest's memory.
const LONG: u32 = 3000;

/// A context of its own for a device.
pub fn context_for(
    iommu: &IommuClient<Vmmcall>,
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
    let context = context_for(&iommu, edu.device, Background::FAULT).expect("it can be moved");
    let client = IommuClient::new(transport());
    let mut space = DeviceSpace::<_, 16>::new(client, context, u64::MAX).expect("there is room");
    let memory = Shared::take(PAGES);
    for word in 0..PAGES * PAGE / 8 {
        memory.write(word, pattern(word));
    }
    // The pages in the wrong order, so that not even guest frames follow each other.
    let reversed = |page: u32| Some(memory.frame(PAGES - 1 - page as usize));
    let from = space.map(PAGES as u32, MapFlags::READABLE, reversed).expect("it can be mapped");
    let to = Shared::take(PAGES);
    let target = |page: u32| Some(to.frame(page as usize));
    let into = space.map(PAGES as u32, MapFlags::WRITEABLE, target).expect("it can be mapped");
    let (from_address, into_address) = (from.0 << 12, into.0 << 12);

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
    check("unmap", space.unmap(into, PAGES as u32));
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
    let all = space.map(LONG, MapFlags::READABLE, |page| Some(Gfn(page.into())));
    let all = all.expect("it can be mapped");
    let in_it = |address: u64| (all.0 << 12) + address;
    check("edu reads in a long range", edu.read(in_it(memory.address()), bytes));
    check("unmap the long range", space.unmap(all, LONG));

    // The same bus frames, and other memory.
    let other = Shared::take(1);
    let again =
        space.map(1, MapFlags::WRITEABLE, |_| Some(other.frame(0))).expect("it can be mapped");
    check("edu writes to memory mapped anew", edu.write(again.0 << 12, bytes));
    check_eq("it arrives", other.read(0), memory.read(0));
    check_eq("and only there", (0..PAGES).all(|page| to.page_is(page, 7)), true);
    check("unmap again", space.unmap(again, 1));
    check("unmap the rest", space.unmap(from, PAGES as u32));
    check_eq("nothing is mapped", iommu.lookup(context, from).map(|found| found.gfn), absent());
}

/// What a look-up of a bus frame without a mapping says.
pub const fn absent() -> Result<Option<Gfn>, Error> {
    Err(Error::Refused(pviommu_abi::Errno::ENOENT))
}

const fn pattern(word: usize) -> u64 {
    (word as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
