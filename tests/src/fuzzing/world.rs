//! The machine an input runs on, and its operations.

use pviommu_abi::{Bfn, DomId, Errno, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, Limits, Outcome, Reserved, ReservedKind, Role, UnknownFlags,
    addr::{BfnRange, GfnRange},
    platform::{AcquireError, UnitFeatures, UnitId},
};

use super::{
    batch, entry,
    input::{Input, Operation},
    printing,
};
use crate::machine::{
    Bed, Config, DeviceConfig, DomainConfig, FrameKind, Half, PAGE_SIZE, Step, When, run as on_bed,
    vtd_facts,
};

/// The two domains; the first may act for the second.
pub(super) const DOMAINS: [DomId; 2] = [DomId(0), DomId(1)];

/// One of the first domain, two of the second, and one that does not exist.
pub(super) const DEVICES: [PciDevice; 4] = [
    PciDevice::new(0, 0, 1, 0),
    PciDevice::new(0, 0, 3, 0),
    PciDevice::new(0, 1, 0, 0),
    PciDevice::new(0, 9, 0, 0),
];

/// CPUs of the machine; operations name twice as many.
const CPUS: usize = 2;

/// Pages of scattered RAM of each domain, from guest frame 0 on; arguments lie in them.
pub(super) const RAM: u64 = 16;

const STEPS: [Step; 12] = [
    Step::Acquire,
    Step::AcquirePage,
    Step::Alloc,
    Step::Reserve,
    Step::CopyIn,
    Step::CopyOut,
    Step::Attach,
    Step::Block,
    Step::Invalidate,
    Step::SyncMap,
    Step::Yield,
    Step::Policy,
];

/// A machine in the course of an input.
pub(super) struct World<'b> {
    pub(super) bed: &'b Bed<'b>,
    /// The context each device is in, as far as successful calls tell.
    pub(super) contexts: [u16; DEVICES.len()],
}

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// What firmware keeps for the last device.
fn direct() -> BfnRange {
    BfnRange::of_pages(Bfn(0x8000), 4).unwrap()
}

/// True if no guest may map `bfn` where `device` is.
pub(super) fn reserved(device: PciDevice, bfn: Bfn) -> bool {
    let interrupts = (0xfee00..=0xfeeff).contains(&bfn.0);
    interrupts || (device == DEVICES[2] && direct().contains(bfn))
}

/// Two units, the second made worse by the bits of `machine`; two domains.
fn config(machine: u8) -> Config {
    let mut second = vtd_facts();
    for (bit, feature) in [(1, UnitFeatures::CACHES_NOT_PRESENT), (4, UnitFeatures::WRITE_BUFFER)] {
        second.features.set(feature, machine & bit != 0);
    }
    second.features.set(UnitFeatures::COHERENT, machine & 2 == 0);
    second.tags = 4;
    let refuse = machine & 8 != 0;
    let unknown_flags = if refuse { UnknownFlags::Refuse } else { UnknownFlags::Ignore };
    let limits = Limits {
        max_contexts: 6,
        max_arena_order: 6,
        max_deferred_pages: 600,
        unknown_flags,
        ..Limits::default()
    };
    let device = |index: usize, unit, owner: usize, reserved| DeviceConfig {
        function: DEVICES[index],
        unit: UnitId(unit),
        owner: DOMAINS[owner],
        reserved,
    };
    let background = if machine & 16 == 0 { Background::Scratch } else { Background::Fault };
    let domain = |id, role| DomainConfig {
        id,
        role,
        limits,
        background,
        ram: vec![gfns(0, RAM), gfns(0x200, 0x200)],
        mmio: vec![gfns(0xf_0000, 8)],
        contiguous: vec![gfns(0x200, 0x200)],
        ..DomainConfig::default()
    };
    Config {
        units: vec![vtd_facts(), second],
        devices: vec![
            device(0, 0, 0, Vec::new()),
            device(1, 0, 1, Vec::new()),
            device(2, 1, 1, vec![Reserved { range: direct(), kind: ReservedKind::Direct }]),
        ],
        domains: vec![domain(DOMAINS[0], Role::Hardware), domain(DOMAINS[1], Role::Guest)],
        cpus: CPUS,
        table_frames: 256,
        max_references: 64,
        ..Config::default()
    }
}

/// Runs `input` on a fresh machine and checks what must hold.
pub(super) fn run(input: &Input, print: bool) {
    on_bed(&config(input.machine), |bed| {
        let mut world = World { bed, contexts: [0; DEVICES.len()] };
        if print {
            println!("machine {:#04x}", input.machine);
        }
        for operation in &input.operations {
            if print {
                println!("{}", printing::Shown(operation));
            }
            let result = world.apply(operation);
            if print {
                println!("    {result}");
            }
            assert_eq!(bed.violations(), [], "after {operation:?}");
        }
        world.finish();
    });
}

impl World<'_> {
    /// Does it; what came of it, in words.
    fn apply(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Call(call) => {
                let status = entry::call(self, call);
                Errno::from_ret(status).map_or("0".into(), |errno| format!("-{errno}"))
            }
            Operation::Batch(asked) => {
                let status = batch::call(self, asked);
                Errno::from_ret(status).map_or("0".into(), |errno| format!("-{errno}"))
            }
            Operation::Dma { device, write, address, bytes } => {
                let device = DEVICES[usize::from(*device)];
                let mut data = vec![0xa5; usize::from(*bytes) % (3 * PAGE_SIZE)];
                let done = if *write {
                    self.bed.dma_write(device, *address, &data)
                } else {
                    self.bed.dma_read(device, *address, &mut data)
                };
                format!("{done:?}")
            }
            Operation::Prefetch { device, address } => {
                let device = DEVICES[usize::from(*device)];
                format!("{}", self.bed.board().prefetch(device, *address))
            }
            Operation::Store { domain, address, bytes } => {
                let address = u64::from(*address) % (RAM * PAGE_SIZE as u64);
                let domain = DOMAINS[usize::from(*domain)];
                format!("{:?}", self.bed.board().guest_write(domain, address, bytes))
            }
            Operation::Fail { step, form, number } => {
                self.fail(*step, *form, *number);
                "armed".into()
            }
            Operation::Manage { what, domain, number } => {
                self.manage(*what, usize::from(*domain), *number)
            }
        }
    }

    fn fail(&self, step: u8, form: u8, number: u8) {
        let schedule = self.bed.schedule();
        let step = STEPS[usize::from(step) % STEPS.len()];
        let number = u64::from(number) + 1;
        let when = match form % 4 {
            0 => When::Never,
            1 => When::Nth(number),
            2 => When::From(number),
            _ => When::Every(number),
        };
        schedule.set(step, when);
        schedule.hardware_fails(if form & 4 == 0 { Half::Nothing } else { Half::Done });
        schedule.acquire_fails_with(match form >> 3 & 3 {
            0 => AcquireError::NotBacked,
            1 => AcquireError::NotPermitted,
            2 => AcquireError::Retry,
            _ => AcquireError::Saturated,
        });
    }

    fn manage(&mut self, what: u8, index: usize, number: u16) -> String {
        let (bed, board) = (self.bed, self.bed.board());
        let domain = DOMAINS[index];
        let other = DOMAINS[1 - index];
        let gfn = Gfn(u64::from(number) % 0x400);
        let device = usize::from(number) % DEVICES.len();
        let cpu = usize::from(number) % CPUS;
        match what {
            0 => format!("free {gfn:?}: {:?}", board.free_page(domain, gfn)),
            1 => format!("populate {gfn:?}: {:?}", board.populate_page(domain, gfn)),
            2 => format!("transfer {gfn:?}: {:?}", board.give_page(domain, gfn, other, gfn)),
            3 => {
                let kind =
                    if number & 0x8000 == 0 { FrameKind::GuestTable } else { FrameKind::Ram };
                format!("{gfn:?} is {kind:?}: {:?}", board.set_page_kind(domain, gfn, kind))
            }
            4 if number & 0x8000 != 0 => {
                let outcome = bed.iommu().flush_deferred(bed.domain(domain), cpu);
                format!("a piece of the timer's flush: {outcome:?}")
            }
            4 => format!("trim: {:?}", bed.iommu().trim(bed.domain(domain), cpu)),
            5 => format!("assign: {:?}", bed.assign(domain, DEVICES[device])),
            6 => {
                let result = bed.unassign(domain, cpu, DEVICES[device]);
                if result.is_ok() {
                    self.contexts[device] = 0;
                }
                format!("unassign: {result:?}")
            }
            _ => {
                let outcome = bed.iommu().teardown(bed.domain(domain), cpu);
                for (index, context) in self.contexts.iter_mut().enumerate() {
                    if board.device_owner(DEVICES[index]) == Some(domain) {
                        *context = 0;
                    }
                }
                format!("a piece of teardown: {outcome:?}")
            }
        }
    }

    /// Takes everything down, and looks at what is left.
    fn finish(&self) {
        self.bed.schedule().clear();
        let intact = self.bed.failed_units().is_empty();
        for domain in DOMAINS {
            // A second time: it is idempotent (INV-60).
            for _ in 0..2 {
                let status = self.teardown(domain);
                assert!(status == 0 || !intact, "teardown of {domain:?} says {status}");
            }
        }
        assert_eq!(self.bed.violations(), [], "after teardown");
        if intact {
            self.bed.assert_clean();
        }
    }

    fn teardown(&self, domain: DomId) -> i64 {
        for _ in 0..entry::CONTINUATIONS {
            if let Outcome::Done(status) = self.bed.iommu().teardown(self.bed.domain(domain), 0) {
                return status;
            }
        }
        unreachable!("teardown of {domain:?} makes no progress")
    }
}
