//! A driver's life, from the first call to the last: `cargo run -p pviommu-guest --example driver`.
//!
//! The hypervisor is the one that the tests have, and the device copies bytes ([`copier`]). What a real
//! driver does differently is the kernel it implements, and how it tells the device what to do.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "an example")]

mod copier;
#[expect(dead_code, reason = "the tests of this crate ask more of it")]
#[path = "../../tests/fake/mod.rs"]
mod fake;

use pviommu_guest::dma::{Deferral, Direction, DmaError, DmaSpace, DmaStorage, Pool};

use copier::{Copier, Fault, Memory, Pages};
use fake::{Call, DEVICE, machine};

/// Room for 256 ranges of bus frames, and for two CPUs. A kernel makes it a static.
static STORAGE: DmaStorage<256, 2> = DmaStorage::new();

/// The device's addresses have 32 bits.
const MASK: u64 = 0xffff_ffff;

fn hypercalls() -> u32 {
    machine(|machine| machine.counts.hypercalls)
}

fn told(outcome: Result<(), Fault>) -> String {
    outcome.map_or_else(|fault| fault.to_string(), |()| "done".to_owned())
}

fn main() -> Result<(), DmaError> {
    let memory = Memory::default();
    let copier = Copier(memory.clone());

    // 1. The service, a context, and what is reserved in it.
    let space = DmaSpace::open(Call, &STORAGE)?;
    println!("context {}, {} free bus frames", space.context().0, space.free_pages());

    // 2. The device comes to the context. Is it alone there?
    let device = space.attach(DEVICE, MASK)?;
    match device.isolation() {
        Ok(info) => println!("{DEVICE} is isolated: {}", info.is_isolated()),
        Err(error) => println!("how {DEVICE} is isolated is not told: {error}"),
    }

    // 3. A ring that stays: blocks of memory that both know.
    let ring = device.coherent(Pages::take(&memory, &[40]))?;
    let blocks: Pool<'_, _, _, 1> = Pool::new(ring, 256)?;
    let descriptor = blocks.take();
    let place = descriptor.as_ref().map_or(0, |block| block.place().address);
    println!("{} descriptors, the first at bus address {place:#x}", blocks.blocks());

    // 4. A request: pages that lie apart are one range for the device, and one hypercall.
    let mut source = Pages::take(&memory, &[7, 3, 12]);
    source.fill(0x5a);
    let length = source.length();
    let before = hypercalls();
    let from = device.map(source, Direction::ToDevice)?;
    let to = device.map(Pages::take(&memory, &[20, 22, 21]), Direction::FromDevice)?;
    println!("two lists of 3 pages: {} hypercalls", hypercalls() - before);
    println!("it copies: {}", told(copier.copy(from.address(), to.address(), length)));
    let target_address = to.address();
    let target = to.unmap()?;
    println!("the bytes are there: {}", target.are(0x5a));
    // It may not write what it was given to read, and not reach what it no longer has.
    println!("it writes its source: {}", told(copier.copy(from.address(), from.address(), 1)));
    println!("it writes after the unmap: {}", told(copier.copy(from.address(), target_address, 1)));
    from.unmap()?;
    drop(blocks.take());
    drop(descriptor);
    blocks.unmap()?;

    // 5. Many requests: unmaps wait, and ride along with maps.
    device.detach()?;
    let space = space.with_deferral(Deferral { unmaps: 32, microseconds: 10_000 });
    let device = space.attach(DEVICE, MASK)?.deferred();
    let (before, flushes) = (hypercalls(), machine(|machine| machine.counts.flushes));
    let mut waiting = Vec::new();
    for request in 0..320 {
        let mapping =
            device.map(Pages::take(&memory, &[1000 + 2 * request]), Direction::ToDevice)?;
        waiting.push(mapping.unmap()?);
        // A buffer is used again as soon as it is safe, and not before.
        waiting.retain(|pending| !pending.is_safe());
    }
    let flushes = machine(|machine| machine.counts.flushes) - flushes;
    println!("320 requests: {} hypercalls, {flushes} flushes", hypercalls() - before);
    drop(waiting);

    // 6. The device goes, and the context with the space.
    device.detach()?;
    space.close()
}
