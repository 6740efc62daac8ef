//! The machine an input runs on, and its operations.

use pviommu_abi::{Bfn, DomId, Errno, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, Limits, Outcome, ReservedKind, Role, UnknownFlags,
    addr::{BfnRange, GfnRange, Mfn},
    platform::{AcquireError, UnitFeatures, UnitId},
};

use super::{
    batch, entry,
    input::{Input, Operation},
    printing,
};
use crate::machine::{
    Bed, Config, DeviceConfig, DomainConfig, Half, PAGE_SIZE, Reach, Step, UnitKind, When, limits,
    reserved as reserved_range, run as on_bed, vtd_facts,
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
pub(super) const CPUS: usize = 2;

/// The frame from which on the machine has memory.
const HOST_MEMORY: u64 = 1 << 20;

/// First guest frame of registers.
pub(super) const MMIO: u64 = 0xf_0000;

/// Pages of scattered RAM of each domain, from guest frame 0 on; arguments lie in them.
pub(super) const RAM: u64 = 16;

/// A machine in the course of an input.
pub(super) struct World<'b> {
    pub(super) bed: &'b Bed<'b>,
    /// The context each device is in, as far as successful calls tell.
    pub(super) contexts: [u16; DEVICES.len()],
    /// The domains that have taken their default contexts over.
    pub(super) taken: [bool; DOMAINS.len()],
    /// Grants that were made, and by whom.
    pub(super) grants: Vec<(DomId, u64)>,
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
pub(super) fn config(machine: u8) -> Config {
    let mut second = vtd_facts();
    for (bit, feature) in [(1, UnitFeatures::CACHES_NOT_PRESENT), (4, UnitFeatures::WRITE_BUFFER)] {
        second.features.set(feature, machine & bit != 0);
    }
    second.features.set(UnitFeatures::COHERENT, machine & 2 == 0);
    second.tags = 4;
    let refuse = machine & 8 != 0;
    let unknown_flags = if refuse { UnknownFlags::Refuse } else { UnknownFlags::Ignore };
    let share = Limits {
        max_contexts: 6,
        max_arena_order: 6,
        max_deferred_pages: 600,
        unknown_flags,
        ..limits()
    };
    let device = |index: usize, unit, owner: usize, reserved| DeviceConfig {
        function: DEVICES[index],
        unit: UnitId(unit),
        owner: DOMAINS[owner],
        reserved,
        ..DeviceConfig::default()
    };
    let background = if machine & 16 == 0 { Background::Scratch } else { Background::Fault };
    let domain = |id, role| DomainConfig {
        id,
        role,
        limits: Limits { default_map_frames: 64, ..share },
        background,
        ram: vec![gfns(0, RAM), gfns(0x200, 0x200)],
        mmio: vec![gfns(MMIO, 8)],
        contiguous: vec![gfns(0x200, 0x200)],
        ..DomainConfig::default()
    };
    let config = Config {
        units: vec![vtd_facts(), second],
        devices: vec![
            device(0, 0, 0, Vec::new()),
            device(1, 0, 1, Vec::new()),
            device(2, 1, 1, vec![reserved_range(direct(), ReservedKind::Direct)]),
        ],
        domains: vec![domain(DOMAINS[0], Role::Hardware), domain(DOMAINS[1], Role::Guest)],
        cpus: CPUS,
        table_frames: 256,
        max_references: 64,
        ..Config::default()
    };
    let make = if machine & 128 == 0 { UnitKind::Vtd } else { UnitKind::AmdVi };
    config.with_direct_ranges().on(make)
}

/// The map that each domain starts with.
const fn default_maps(machine: u8) -> [DefaultMap; DOMAINS.len()] {
    match machine >> 5 & 3 {
        0 => [DefaultMap::Blocked, DefaultMap::Blocked],
        1 => [DefaultMap::Host, DefaultMap::Guest],
        2 => [DefaultMap::IdentityMfn, DefaultMap::IdentityGfn],
        _ => [DefaultMap::Host, DefaultMap::IdentityMfn],
    }
}

/// Runs `input` on a fresh machine and checks what must hold.
pub(super) fn run(input: &Input, print: bool) {
    on_bed(&config(input.machine), |bed| {
        for (domain, map) in DOMAINS.into_iter().zip(default_maps(input.machine)) {
            // Without one it goes on as well; what there is must hold.
            let _ = bed.set_default(domain, map);
        }
        let mut world = World::new(bed);
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

impl<'b> World<'b> {
    /// All devices in the default contexts, which are nobody's yet.
    pub(super) const fn new(bed: &'b Bed<'b>) -> Self {
        let (contexts, taken) = ([0; DEVICES.len()], [false; DOMAINS.len()]);
        Self { bed, contexts, taken, grants: Vec::new() }
    }
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
                if self.is_trusted_not_to(device, *address, data.len()) {
                    return "nobody does that".into();
                }
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

    /// True if `domain` edits its default context itself.
    pub(super) fn has_taken(&self, domain: DomId) -> bool {
        let index = DOMAINS.iter().position(|id| *id == domain);
        index.is_some_and(|index| self.taken[index])
    }

    /// True if the hardware domain would use memory that is nobody's, which its host map leads to.
    fn is_trusted_not_to(&self, device: PciDevice, address: u64, bytes: usize) -> bool {
        let board = self.bed.board();
        let owner = board.device_owner(device);
        let host = owner.is_some_and(|owner| self.bed.default_map(owner) == DefaultMap::Host);
        let last = address.saturating_add(bytes as u64);
        let nobodys =
            |frame| matches!(board.memory().reach(Mfn(frame)), Reach::Free | Reach::Forbidden);
        host && (address >> 12..=last >> 12).any(|frame| frame >= HOST_MEMORY && nobodys(frame))
    }

    /// Has calls of a platform method fail from now on.
    pub(super) fn fail(&self, step: u8, form: u8, number: u8) {
        let schedule = self.bed.schedule();
        let step = Step::ALL[usize::from(step) % Step::ALL.len()];
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

    /// Takes everything down, and looks at what is left.
    pub(super) fn finish(&self) {
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
