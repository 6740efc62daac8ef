//! The service on the cheap platform, with one guest that has some devices.

use pviommu_abi::{
    AllocContext, Batch, BatchElement, ContextId, DomId, GuestPtr, Init, MapPages, PciDevice,
    ReattachDevice, Subop, UnmapPages,
};
use pviommu_hypervisor::{
    Background, Caller, Context, Cpu, Device, DeviceFacts, DomainIommu, FaultRule, Iommu, Limits,
    Machine, Outcome, Role, SourceEntry, Unit, Width,
    addr::Mfn,
    platform::{InitialRun, UnitFacts, UnitId},
    sync::AtomicU64,
};
use zerocopy::{Immutable, IntoBytes};

use super::{Arena, Buffers, Cheap, Pages, Pin};
use crate::machine::vtd_facts;

/// The domain that makes the calls.
pub const GUEST: DomId = DomId(1);

/// Pages of RAM that the guest has.
pub const RAM_PAGES: u64 = 8192;

/// Where they begin; not aligned, so that no large leaf forms by chance.
const FIRST_FRAME: Mfn = Mfn(0x10_0001);

/// What a world is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The unit.
    pub facts: UnitFacts,
    /// What a bus frame that nobody mapped hits.
    pub background: Background,
    /// How the embedder holds pages.
    pub pin: Pin,
    /// Guest frames follow each other in the machine.
    pub straight: bool,
    /// CPUs that make calls.
    pub cpus: usize,
    /// Devices of the guest, each of which gets a context.
    pub devices: u8,
    /// Table frames of the machine.
    pub frames: usize,
    /// What the guest is to the machine.
    pub role: Role,
    /// The map that it starts with if it asks for the host's, in order.
    pub initial: Vec<InitialRun>,
}

impl Default for Options {
    /// A usual VT-d unit, faults, a locked reference a page, scattered frames, one CPU and one device.
    fn default() -> Self {
        Self {
            facts: vtd_facts(),
            background: Background::Fault,
            pin: Pin::Locked,
            straight: false,
            cpus: 1,
            devices: 1,
            frames: 256,
            role: Role::Guest,
            initial: Vec::new(),
        }
    }
}

/// Device `number`.
#[must_use]
pub const fn device(number: u8) -> PciDevice {
    PciDevice::new(0, 0, number, 0)
}

/// The service, and what it runs on. Its memory lives as long as the process.
#[derive(Debug)]
pub struct World {
    /// The service.
    pub iommu: Iommu<'static, Cheap>,
    /// The guest.
    pub domain: DomainIommu<'static>,
}

fn leak<T>(items: impl Iterator<Item = T>) -> &'static [T] {
    Box::leak(items.collect::<Box<[T]>>())
}

impl World {
    /// A machine whose guest has its devices in its default context, and no other context.
    ///
    /// # Panics
    /// If the service refuses it.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let tags = leak((0..4).map(|_| AtomicU64::new(0)));
        let units = leak([Unit::new(options.facts, tags)].into_iter());
        let facts = DeviceFacts::INTERRUPTS_ISOLATED;
        let new_device = |n| Device::new(device(n), UnitId(0), &[]).with_facts(facts);
        let devices = leak((1..=options.devices).map(new_device));
        let room = Box::leak(vec![SourceEntry::default(); devices.len()].into_boxed_slice());
        let machine = Machine {
            units,
            tables: None,
            devices,
            sources: Machine::index_sources(devices, room).expect("each id is one device's"),
            quarantine: None,
            cpus: leak((0..=options.cpus).map(|_| Cpu::new())),
            reserved: &[],
            unreachable: &[],
            faults: FaultRule::default(),
        };
        let platform = Cheap {
            arena: Box::leak(Box::new(Arena::new(options.frames))),
            pages: Pages::new(GUEST, RAM_PAGES, FIRST_FRAME, options.straight, options.pin),
            buffers: Buffers::new(options.cpus + 1),
            initial: options.initial.clone(),
        };
        let iommu = Iommu::new(platform, machine).expect("the lists fit together");
        let contexts = leak((0..=16).map(|_| Context::new()));
        let domain = DomainIommu::new(GUEST, options.role, contexts, Limits::default());
        let world = Self { iommu, domain: domain.with_background(options.background) };
        for number in 1..=options.devices {
            world.iommu.assign(&world.domain, 0, device(number)).expect("nobody has it");
        }
        world
    }

    /// The platform.
    pub fn platform(&self) -> &Cheap {
        self.iommu.platform()
    }

    /// A machine whose guest has a context for each of its devices: those with the numbers 1 and on.
    ///
    /// # Panics
    /// If the service refuses it.
    #[must_use]
    pub fn with_contexts(options: &Options) -> Self {
        let world = Self::new(options);
        world.call(0, Subop::INIT, &Init { max_ctx_no: 16, arena_order: 12 });
        for number in 1..=options.devices {
            world.call(0, Subop::ALLOC_CONTEXT, &AllocContext::default());
            let context = ContextId(u16::from(number));
            let attach = ReattachDevice {
                ctx_no: context,
                dev: device(number),
                ..ReattachDevice::default()
            };
            world.call(0, Subop::REATTACH_DEVICE, &attach);
        }
        world
    }

    /// Makes a hypercall on `cpu` until it is done, and insists that it succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[inline]
    pub fn call<A: IntoBytes + Immutable>(&self, cpu: usize, subop: Subop, argument: &A) {
        let at = Buffers::address(cpu, 0);
        self.platform().buffers.write(at, argument.as_bytes()).expect("there is room");
        self.enter(cpu, subop, at);
    }

    /// The same, with an argument that is in place already.
    ///
    /// # Panics
    /// If it does not succeed.
    #[inline]
    pub fn enter(&self, cpu: usize, subop: Subop, at: GuestPtr) {
        let caller = Caller { cpu, width: Width::Bits64 };
        loop {
            match self.iommu.iommu_op(&self.domain, caller, u64::from(subop.0), at.0) {
                Outcome::Done(0) => return,
                Outcome::Continue => {}
                Outcome::Done(status) => refused(subop, status),
            }
        }
    }

    /// `map_pages`, RFC v7.
    #[inline]
    pub fn map(&self, cpu: usize, map: &MapPages) {
        self.call(cpu, Subop::MAP_PAGES, map);
    }

    /// `unmap_pages`, RFC v7.
    #[inline]
    pub fn unmap(&self, cpu: usize, unmap: &UnmapPages) {
        self.call(cpu, Subop::UNMAP_PAGES, unmap);
    }

    /// A batch on context 1, of elements that are put in place, too.
    ///
    /// # Panics
    /// If one of them fails.
    #[inline]
    pub fn batch(&self, cpu: usize, elements: &[BatchElement]) {
        let at = Buffers::address(cpu, 4096);
        self.platform().buffers.write(at, elements.as_bytes()).expect("there is room");
        let count = u32::try_from(elements.len()).expect("a batch");
        let batch = Batch { ctx_id: 1, nr_ops: count, ops: at, ..Batch::default() };
        self.call(cpu, Subop::BATCH, &batch);
    }

    /// Insists that each of the first `count` elements of the last batch succeeded, and that the guest holds so
    /// many references.
    ///
    /// # Panics
    /// If not.
    pub fn check_batch(&self, cpu: usize, count: usize) {
        let mut elements = vec![BatchElement::default(); count];
        let at = Buffers::address(cpu, 4096);
        self.platform().buffers.read(at, elements.as_mut_bytes()).expect("they are there");
        assert!(elements.iter().all(|element| element.status == 0), "{elements:?}");
    }
}

#[cold]
fn refused(subop: Subop, status: i64) -> ! {
    unreachable!("{subop:?} ended with {status}")
}
