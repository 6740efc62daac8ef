//! A hypervisor of one guest that embeds the service, on a machine in a process: `cargo run --example embed`.
//!
//! ```text
//!  main.rs         the guest's calls, and what is expected of them
//!  platform.rs     the traits that every hypervisor implements: what to copy from
//!  machine.rs      memory, an IOMMU that walks tables and caches, and a device that does DMA
//! ```
//!
//! `hypervisor/capi/examples/embed.c` is the same in C.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "an example ends at the first surprise"
)]

mod machine;
mod platform;

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    Background, Caller, Context, Cpu, Device, DeviceFacts, DomainIommu, FaultRule, Iommu, Limits,
    Machine, Outcome, Role, SourceEntry, Unit, Width,
    abi::{
        AllocContext, Bfn, DomId, Gfn, Init, MapFlags, MapPages, PciDevice, ReattachDevice, Subop,
        UnmapPages,
    },
    platform::UnitId,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use machine::{Board, DEVICE, FACTS};
use platform::Hypervisor;

const GUEST: DomId = DomId(1);

/// What happened, in words.
fn main() {
    let board = Board::new();

    // What the machine consists of, in memory that is lent.
    let tags = [AtomicU64::new(0)];
    let units = [Unit::new(FACTS, &tags)];
    let device = Device::new(DEVICE, UnitId(0), &[]);
    let devices = [device.with_facts(DeviceFacts::INTERRUPTS_ISOLATED)];
    let mut room = [SourceEntry::default(); 1];
    let sources = Machine::index_sources(&devices, &mut room).expect("each id is one device's");
    let cpus = [Cpu::new()];
    let machine = Machine {
        units: &units,
        tables: None,
        devices: &devices,
        sources,
        quarantine: None,
        cpus: &cpus,
        reserved: &[],
        unreachable: &[],
        faults: FaultRule::default(),
    };
    let iommu = Iommu::new(Hypervisor { board: &board }, machine).expect("the lists fit together");

    // A domain, and its device.
    let contexts: Vec<Context> = (0..=4).map(|_| Context::new()).collect();
    let domain = DomainIommu::new(GUEST, Role::Guest, &contexts, Limits::default())
        .with_background(Background::Fault);
    iommu.assign(&domain, 0, DEVICE).expect("nobody has it");

    guest(&board, &iommu, &domain);

    while iommu.teardown(&domain, 0) == Outcome::Continue {}
    assert_eq!((board.references(), board.tables_in_use()), (0, 0), "nothing is left");
    println!("the domain is gone, and nothing is left");
}

/// What the guest does.
fn guest(board: &Board, iommu: &Iommu<'_, Hypervisor<'_>>, domain: &DomainIommu<'_>) {
    let call =
        |subop, argument: &mut dyn Argument| hypercall(board, iommu, domain, subop, argument);

    let mut init = Init { max_ctx_no: 4, arena_order: 5 };
    assert_eq!(call(Subop::INIT, &mut init), 0);
    let mut alloc = AllocContext::default();
    assert_eq!(call(Subop::ALLOC_CONTEXT, &mut alloc), 0);
    let ctx_no = alloc.ctx_no;
    let mut attach = ReattachDevice { ctx_no, dev: DEVICE, ..ReattachDevice::default() };
    assert_eq!(call(Subop::REATTACH_DEVICE, &mut attach), 0);
    println!("the guest has put its device into context {ctx_no}");

    let mut map = MapPages {
        ctx_no,
        gfn: Gfn(5),
        dfn: Bfn(0x12345),
        map_flags: MapFlags::READABLE | MapFlags::WRITEABLE,
        pgsize: 4096,
        nr_pages: 2,
        ..MapPages::default()
    };
    assert_eq!((call(Subop::MAP_PAGES, &mut map), map.mapped), (0, 2));
    assert_eq!(board.references(), 2, "devices may reach two pages now");
    board.dma_write(0x1234_6040, b"written by a device").expect("it is mapped");
    let mut found = [0; 19];
    board.guest_read(0x6040, &mut found).unwrap();
    assert_eq!(&found, b"written by a device");
    println!("the device wrote to the guest's frame 6 by bus frame 0x12346");

    let mut unmap = UnmapPages {
        ctx_no,
        dfn: Bfn(0x12345),
        pgsize: 4096,
        nr_pages: 2,
        ..UnmapPages::default()
    };
    assert_eq!((call(Subop::UNMAP_PAGES, &mut unmap), unmap.unmapped), (0, 2));
    assert_eq!(board.references(), 0, "they were given back after the flush");
    assert!(board.dma_write(0x1234_6040, b"again").is_err());
    println!("after the unmap the IOMMU refuses the device");
}

/// An argument, as it lies in the guest's memory.
trait Argument {
    fn bytes(&mut self) -> &mut [u8];
}

impl<T: IntoBytes + FromBytes + Immutable> Argument for T {
    fn bytes(&mut self) -> &mut [u8] {
        self.as_mut_bytes()
    }
}

/// The guest's instruction, and the hypervisor's handler of it.
fn hypercall(
    board: &Board,
    iommu: &Iommu<'_, Hypervisor<'_>>,
    domain: &DomainIommu<'_>,
    subop: Subop,
    argument: &mut dyn Argument,
) -> i64 {
    const AT: u64 = 0x10;
    board.guest_write(AT, argument.bytes()).unwrap();
    let caller = Caller { cpu: 0, width: Width::Bits64 };
    let status = loop {
        // With `Continue` a guest executes the instruction again.
        if let Outcome::Done(status) = iommu.iommu_op(domain, caller, u64::from(subop.0), AT) {
            break status;
        }
    };
    board.guest_read(AT, argument.bytes()).unwrap();
    status
}

/// The name by which the guest knows its device is the machine's.
fn machines_function(domain: DomId, name: PciDevice) -> Option<PciDevice> {
    (domain == GUEST && name == DEVICE).then_some(name)
}
