//! A guest at the level of its hypercalls, for the tests of the service.

use std::ops::Deref;

use pviommu_abi::{ContextId, DomId, Gfn, MapFlags, PciDevice};
use pviommu_hypervisor::{Background, Role, addr::GfnRange};
pub(crate) use pviommu_testbed::vm::err;
use pviommu_testbed::{
    iommu::Direction,
    machine::{Bed, Config, DeviceConfig, DomainConfig, Reach, run},
    vm,
};

use crate::kinds;

pub(crate) const GUEST: DomId = DomId(1);
pub(crate) const DOM0: DomId = DomId(0);
/// The second guest of [`two_guests`], and its device.
pub(crate) const OTHER: DomId = DomId(2);
pub(crate) const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
/// 00:03.0, the device of [`Config::one_guest`].
pub(crate) const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };
pub(crate) const RW: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);

/// Tables that the background adds to those of a map below 512 GiB: with a scratch page, three that
/// are shared, and those on the way to what is not memory.
pub(crate) fn background_tables() -> u32 {
    if over_scratch() { 5 + tables_of_holes() } else { 0 }
}

/// Tables on the way to what is not memory, besides the two on the way to the interrupt range.
pub(crate) fn tables_of_holes() -> u32 {
    u32::from(kinds::has_hypertransport())
}

/// True if a scratch page is behind every bus frame that nobody mapped.
pub(crate) fn over_scratch() -> bool {
    kinds::background() == Background::Scratch
}

/// Domain 1 on a CPU, making calls.
pub(crate) struct Vm<'b>(vm::Vm<'b>);

/// Runs `body` on a machine with one guest of `pages` pages and one device.
pub(crate) fn with_guest<R>(pages: u64, body: impl FnOnce(&Vm<'_>) -> R) -> R {
    with(&Config::one_guest(pages), body)
}

/// The machine of [`Config::one_guest`] with 64 pages, and the hardware domain beside the guest.
pub(crate) fn with_hardware_domain() -> Config {
    let mut config = Config::one_guest(64);
    config.domains.push(DomainConfig {
        id: DOM0,
        role: Role::Hardware,
        ram: vec![GfnRange::of_pages(Gfn(0), 64).unwrap()],
        ..DomainConfig::default()
    });
    config
}

/// The machine of [`Config::one_guest`] with `pages` pages, and domain 2, a guest like the first that has
/// the device 00:04.0.
pub(crate) fn two_guests(pages: u64) -> Config {
    let mut config = Config::one_guest(pages);
    let ram = config.domains[0].ram.clone();
    config.domains.push(DomainConfig { id: OTHER, ram, ..DomainConfig::default() });
    let second = DeviceConfig { function: SECOND, owner: OTHER, ..DeviceConfig::default() };
    config.devices.push(second);
    config
}

/// Runs `body` on the machine of `config`, as domain 1 on CPU 0.
pub(crate) fn with<R>(config: &Config, body: impl FnOnce(&Vm<'_>) -> R) -> R {
    run(&kinds::of_this_kind(config), |bed| body(&Vm::new(bed, GUEST, 0)))
}

impl<'b> Deref for Vm<'b> {
    type Target = vm::Vm<'b>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'b> Vm<'b> {
    pub(crate) fn new(bed: &'b Bed<'b>, domain: DomId, cpu: usize) -> Self {
        Self(vm::Vm::new(bed, domain, cpu))
    }

    /// Asks for the usual limits and opens a context.
    pub(crate) fn context(&self) -> ContextId {
        if self.capabilities().max_ctx_no == 0 {
            assert_eq!(self.init(128, 12), 0);
        }
        self.alloc().unwrap()
    }

    /// A context with the device in it.
    pub(crate) fn attached_context(&self) -> ContextId {
        let context = self.context();
        assert_eq!(self.attach(DEVICE, context), 0);
        context
    }

    /// Has the device write a byte at a bus frame, and says where in guest memory it landed.
    pub(crate) fn lands_in(&self, device: PciDevice, bfn: u64, gfn: u64) -> bool {
        let mark = [0xa5, (bfn & 0xff) as u8, (gfn & 0xff) as u8];
        let at = (gfn << 12) + 0x123;
        let domain = self.guest.domain();
        self.bed.guest_write(domain, at, &[0; 3]);
        if self.bed.dma_write(device, (bfn << 12) + 0x123, &mark).is_err() {
            return false;
        }
        let mut seen = [0; 3];
        self.bed.guest_read(domain, at, &mut seen);
        seen == mark
    }

    /// True if the device can read a page that is mapped at `bfn`, and not just the background.
    pub(crate) fn reads(&self, device: PciDevice, bfn: u64) -> bool {
        self.hits(device, bfn, Direction::Read).is_some_and(|reach| reach != Reach::Scratch)
    }

    /// True if the device can write a page that is mapped at `bfn`, and not just the background.
    pub(crate) fn writes(&self, device: PciDevice, bfn: u64) -> bool {
        self.hits(device, bfn, Direction::Write).is_some_and(|reach| reach != Reach::Scratch)
    }

    /// True if the device finds the background at `bfn`: a fault, or the scratch page.
    pub(crate) fn hits_background(&self, device: PciDevice, bfn: u64) -> bool {
        let expected = over_scratch().then_some(Reach::Scratch);
        let [read, write] = [Direction::Read, Direction::Write];
        self.hits(device, bfn, read) == expected && self.hits(device, bfn, write) == expected
    }

    /// Ends the domain, and checks that nothing went wrong and nothing is left.
    pub(crate) fn end(&self) {
        assert_eq!(self.bed.teardown(GUEST, 0), 0);
        assert_eq!(self.bed.teardown(GUEST, 0), 0, "a second teardown does nothing");
        self.bed.assert_clean();
        let left = self.bed.domain(GUEST).stats();
        assert_eq!((left.table_frames, left.pinned_pages, left.foreign_pages), (0, 0, 0));
    }
}
