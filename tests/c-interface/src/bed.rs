//! A machine of the testbed with the service on it, set up through the C interface, and a guest for a program
//! in C.
#![expect(unsafe_code, reason = "objects are made and used as C does")]

use std::{
    cell::{Cell, RefCell},
    ffi::{CStr, c_char, c_int, c_void},
    mem::MaybeUninit,
    ptr,
};

use pviommu_abi::{
    AccessFlags, Background, Bfn, DomId, PciDevice, ReservedKind as WireKind, ReservedRange,
};
use pviommu_capi::{
    DeviceConfig, Domain, DomainConfig, Facts, Faults, In, Lent, Machine, MachineConfig, Out,
    Range, Shared, UnitConfig, pviommu_assign, pviommu_domain_fini, pviommu_domain_init,
    pviommu_domain_size, pviommu_machine_init, pviommu_machine_size, pviommu_quarantine,
    pviommu_teardown,
};
use pviommu_hypervisor::{
    Limits, OptIns, Reserved, ReservedKind,
    addr::BfnRange,
    platform::{Access, UnitFacts},
};
use pviommu_testbed::machine::{
    Board, Config, Counters, DeviceConfig as TestDevice, DomainConfig as TestDomain, Platform,
    reserved,
};

use crate::callbacks::{Below, TABLE};

/// `struct bed` of `bed.h`.
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "the header says it")]
pub struct Bed {
    pub machine: Shared<Machine>,
    pub domain: Shared<Domain>,
    pub board: *mut c_void,
    pub guest_read: unsafe extern "C" fn(*mut c_void, u64, *mut c_void, usize) -> c_int,
    pub guest_write: unsafe extern "C" fn(*mut c_void, u64, *const c_void, usize) -> c_int,
    pub dma_read: unsafe extern "C" fn(*mut c_void, PciDevice, u64, *mut c_void, usize) -> c_int,
    pub dma_write: unsafe extern "C" fn(*mut c_void, PciDevice, u64, *const c_void, usize) -> c_int,
    pub set_busy: unsafe extern "C" fn(*mut c_void, c_int),
    pub pages: u64,
    pub first: PciDevice,
    pub second: PciDevice,
    pub others: PciDevice,
    pub direct: Range,
    pub machine_ranges: u32,
    pub last_bfn: u64,
    pub failed: *const c_char,
    pub line: c_int,
}

/// The guest of the programs, and who has the third device.
const GUEST: DomId = DomId(1);
const OTHER: DomId = DomId(2);
/// Memory of the guest, in pages.
const PAGES: u64 = 2048;
const FIRST: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };
const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
const THIRD: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };
/// What the firmware of the second device uses.
const DIRECT: (u64, u64) = (0x7_c000, 0x7_c003);

/// Memory that is lent to the library, aligned as it wants it.
struct Room(Vec<Block>);

#[repr(C, align(128))]
#[derive(Clone, Copy)]
struct Block([MaybeUninit<u8>; 128]);

impl Room {
    fn new(bytes: usize) -> Self {
        Self(vec![Block([MaybeUninit::uninit(); 128]); bytes.div_ceil(128)])
    }

    fn lend(&mut self) -> Lent {
        // SAFETY: it is kept until the machine is gone, and used for nothing else.
        unsafe { Lent::new(self.0.as_mut_ptr().cast()) }
    }
}

fn input<T: Copy + 'static>(value: &T) -> In<T> {
    // SAFETY: a value that nobody changes during the call it is made for.
    unsafe { In::new(value) }
}

fn inputs<T: Copy + 'static>(values: &[T]) -> In<T> {
    // SAFETY: as above, with as many as are told beside it.
    unsafe { In::new(values.as_ptr()) }
}

fn output<T: Copy>(value: &mut T) -> Out<T> {
    // SAFETY: a value of the caller's alone.
    unsafe { Out::new(value) }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}

fn machine_of(unit: UnitFacts) -> Config {
    let mut config = Config { units: vec![unit], ..Config::one_guest(PAGES) };
    config.domains.push(TestDomain { id: OTHER, ..TestDomain::default() });
    let range = BfnRange::new(Bfn(DIRECT.0), Bfn(DIRECT.1)).unwrap();
    let second = TestDevice {
        function: SECOND,
        reserved: vec![reserved(range, ReservedKind::Direct)],
        ..TestDevice::default()
    };
    let third = TestDevice { function: THIRD, owner: OTHER, ..TestDevice::default() };
    config.devices.extend([second, third]);
    config.with_direct_ranges().with_background(pviommu_hypervisor::Background::Fault)
}

fn range_of(reserved: &Reserved) -> ReservedRange {
    let mut access = AccessFlags::empty();
    access.set(AccessFlags::READ, reserved.access.contains(Access::READ));
    access.set(AccessFlags::WRITE, reserved.access.contains(Access::WRITE));
    let kind = match reserved.kind {
        ReservedKind::Direct => WireKind::DIRECT,
        ReservedKind::Msi => WireKind::MSI,
        kind => panic!("no machine here has {kind:?}"),
    };
    ReservedRange {
        first: reserved.range.first(),
        last: reserved.range.last(),
        kind,
        access,
        reserved: 0,
    }
}

fn limits(limits: Limits) -> pviommu_capi::DomainLimits {
    limits.into()
}

fn domain(config: &DomainConfig, rooms: &mut Vec<Room>) -> Shared<Domain> {
    let mut bytes = 0;
    assert_eq!(pviommu_domain_size(input(config), output(&mut bytes)), 0);
    let mut room = Room::new(bytes);
    let mut made = Shared::null();
    assert_eq!(pviommu_domain_init(room.lend(), bytes, input(config), output(&mut made)), 0);
    rooms.push(room);
    made
}

fn machine(
    config: &Config,
    quarantine: Shared<Domain>,
    below: &Below<'_>,
    rooms: &mut Vec<Room>,
) -> Shared<Machine> {
    let units: Vec<_> = config.units.iter().map(|unit| Facts::from(*unit)).collect();
    let units: Vec<_> =
        units.into_iter().map(|facts| UnitConfig { driven: Shared::null(), facts }).collect();
    let ranges: Vec<Vec<_>> =
        config.devices.iter().map(|it| it.reserved.iter().map(range_of).collect()).collect();
    let devices = config.devices.iter().zip(&ranges).map(|(device, ranges)| DeviceConfig {
        function: device.function,
        unit: device.unit.0,
        flags: 1,
        group: u32::MAX,
        risks: 0,
        reserved: inputs(ranges),
        functions: inputs(&[]),
        aliases: inputs(&[]),
        nr_reserved: count(ranges.len()),
        nr_functions: 0,
        nr_aliases: 0,
        pad: 0,
    });
    let devices: Vec<_> = devices.collect();
    let of_machine: Vec<_> = config.reserved.iter().map(range_of).collect();
    let told = MachineConfig {
        units: inputs(&units),
        devices: inputs(&devices),
        reserved: inputs(&of_machine),
        unreachable: inputs(&[]),
        quarantine,
        nr_units: count(units.len()),
        nr_devices: count(devices.len()),
        nr_reserved: count(of_machine.len()),
        nr_unreachable: 0,
        nr_cpus: 2,
        format: 0,
        levels: 0,
        faults: Faults { window_ms: 0, recorded: 0, storm: 0 },
    };
    let mut bytes = 0;
    assert_eq!(pviommu_machine_size(input(&told), output(&mut bytes)), 0);
    let mut room = Room::new(bytes);
    let (mut made, mut why) = (Shared::null(), [0 as c_char; 200]);
    let context = ptr::from_ref(below).cast_mut().cast();
    // SAFETY: room for a text, which is told how long it is.
    let text = unsafe { Out::new(why.as_mut_ptr()) };
    let (lent, table, to) = (room.lend(), input(&TABLE), output(&mut made));
    // SAFETY: the functions do what the header says, with this context, which outlives the machine.
    let status = unsafe {
        pviommu_machine_init(lent, bytes, input(&told), table, context, to, text, why.len())
    };
    // SAFETY: a text that is ended was written there.
    assert_eq!(status, 0, "{:?}", unsafe { CStr::from_ptr(why.as_ptr()) });
    rooms.push(room);
    made
}

/// Runs `test` with a guest on a machine with one unit like this; then ends it, and checks that nothing went
/// wrong and nothing is left.
///
/// # Panics
/// If something did, or is.
pub fn on_machine(unit: UnitFacts, test: impl FnOnce(&mut Bed)) {
    let config = machine_of(unit);
    let board = Board::new(&config);
    let platform = Platform::new(&board, &[]);
    let below =
        Below { board: &board, platform, domains: RefCell::default(), busy: Cell::new(false) };
    let mut rooms = Vec::new();
    let quarantine = DomainConfig {
        id: DomId::IO.0,
        flags: 0,
        background: Background::FAULT.0,
        opt_ins: OptIns::DIRECT_RANGES.bits(),
        nr_contexts: count(config.devices.len()),
        limits: limits(Limits { max_contexts: 0, ..Limits::default() }),
    };
    let quarantine = domain(&quarantine, &mut rooms);
    let of_domain = |id: DomId| DomainConfig {
        id: id.0,
        flags: 0,
        background: Background::FAULT.0,
        opt_ins: OptIns::DIRECT_RANGES.bits(),
        nr_contexts: 129,
        limits: limits(Limits::default()),
    };
    let domains = [GUEST, OTHER].map(|id| (id, domain(&of_domain(id), &mut rooms)));
    let machine = machine(&config, quarantine, &below, &mut rooms);
    below.domains.borrow_mut().extend(domains.iter().map(|(id, made)| (id.0, *made)));
    for device in &config.devices {
        assert_eq!(pviommu_quarantine(machine, 1, device.function), 0);
    }
    for device in &config.devices {
        let (_, owner) = domains.iter().find(|(id, _)| *id == device.owner).unwrap();
        board.set_device_owner(device.function, Some(device.owner));
        assert_eq!(pviommu_assign(machine, *owner, 1, device.function), 0);
        board.guard(device.function);
    }
    let reserved = config.reserved_by_machine();
    let ranges = reserved.iter().filter(|it| it.kind != ReservedKind::Msi).count();
    let bits = u32::from(unit.bus_address_bits.min(48));
    let mut bed = Bed {
        machine,
        domain: domains[0].1,
        board: ptr::from_ref(&below).cast_mut().cast(),
        guest_read,
        guest_write,
        dma_read,
        dma_write,
        set_busy,
        pages: PAGES,
        first: FIRST,
        second: SECOND,
        others: THIRD,
        direct: Range { first: DIRECT.0, last: DIRECT.1 },
        machine_ranges: count(ranges),
        last_bfn: (1 << (bits - 12)) - 1,
        failed: ptr::null(),
        line: 0,
    };
    test(&mut bed);
    if !bed.failed.is_null() {
        // SAFETY: a program in C that fails leaves a text there.
        let what = unsafe { CStr::from_ptr(bed.failed) }.to_string_lossy();
        panic!("line {}: {what}", bed.line);
    }
    for (_, made) in domains {
        while pviommu_teardown(machine, made, 0) == 1 {}
        assert_eq!(pviommu_domain_fini(made), 0);
    }
    assert_eq!(board.memory().violations.list(), []);
    let left = Counters::of(&board);
    let (kept, _) = board.memory().tables.charged(DomId::IO);
    assert_eq!(left.references_live, 0, "references are left");
    assert_eq!(left.table_frames_live + left.scratch_frames_live, kept, "tables are left");
}

fn below<'b>(board: *mut c_void) -> &'b Below<'b> {
    // SAFETY: what a bed has as its board is one, for as long as the test runs.
    unsafe { &*board.cast::<Below<'b>>() }
}

fn status(done: bool) -> c_int {
    if done { 0 } else { -1 }
}

unsafe extern "C" fn guest_read(
    board: *mut c_void,
    address: u64,
    to: *mut c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: the program gives room for so many bytes.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
    status(below(board).board.guest_read(GUEST, address, to).is_ok())
}

unsafe extern "C" fn guest_write(
    board: *mut c_void,
    address: u64,
    from: *const c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: the program gives so many bytes.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
    status(below(board).board.guest_write(GUEST, address, from).is_ok())
}

unsafe extern "C" fn dma_read(
    board: *mut c_void,
    device: PciDevice,
    address: u64,
    to: *mut c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: the program gives room for so many bytes.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
    status(below(board).board.dma_read(device, address, to).is_ok())
}

unsafe extern "C" fn dma_write(
    board: *mut c_void,
    device: PciDevice,
    address: u64,
    from: *const c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: the program gives so many bytes.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
    status(below(board).board.dma_write(device, address, from).is_ok())
}

unsafe extern "C" fn set_busy(board: *mut c_void, busy: c_int) {
    below(board).busy.set(busy != 0);
}
