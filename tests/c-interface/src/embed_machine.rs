//! The machine below `embed.c`, for which the testbed's walker reads the tables in the memory of C.
//!
//! It is as unhelpful as it may be: what was translated once stays so until it is invalidated, and what is
//! present when an entry is made or a neighbour is used is remembered, too.
#![expect(unsafe_code, reason = "the functions are C's to call, and so is the memory")]

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use pviommu_abi::PciDevice;
use pviommu_capi::{DrivenUnit, Facts, Shared};
use pviommu_hypervisor::{addr::Mfn, platform::UnitFacts};
use pviommu_testbed::{
    iommu::{
        Rights,
        walker::{Place, Walk, in_width, supports_levels, walk_by},
    },
    machine::{PAGE_SIZE, UnitKind},
};

/// The number of the first frame of C's.
const FIRST: u64 = 0x2_0000;

struct Unit {
    facts: UnitFacts,
    frames: *mut [u64; 512],
    count: u64,
    entry: Option<(u64, u8, u16)>,
    /// By tag and bus frame.
    cached: HashMap<(u16, u64), (u64, bool)>,
    printed: Vec<String>,
}

thread_local! {
    static UNIT: RefCell<Option<Unit>> = const { RefCell::new(None) };
}

unsafe extern "C" {
    fn embed() -> c_int;
}

/// Runs the example on a unit of this make; what it printed.
///
/// # Panics
/// If it fails. It has memory of its own, so one at a time.
pub fn run(kind: UnitKind) -> Vec<String> {
    let unit = Unit {
        facts: kind.facts(),
        frames: ptr::null_mut(),
        count: 0,
        entry: None,
        cached: HashMap::new(),
        printed: Vec::new(),
    };
    UNIT.set(Some(unit));
    // SAFETY: it is called by one test, which waits for it.
    let status = unsafe { embed() };
    let printed = UNIT.take().expect("a unit").printed;
    assert_eq!(status, 0, "{printed:?}");
    printed
}

fn with<R>(act: impl FnOnce(&mut Unit) -> R) -> R {
    UNIT.with_borrow_mut(|unit| act(unit.as_mut().expect("the example runs")))
}

impl Unit {
    fn frame(&self, mfn: u64) -> Option<*mut [u64; 512]> {
        let place = mfn.checked_sub(FIRST).filter(|place| *place < self.count)?;
        Some(self.frames.wrapping_add(usize::try_from(place).unwrap()))
    }

    fn read(&self, place: Place, index: usize) -> Option<u64> {
        let table = self.frame(place.table.0)?;
        // SAFETY: a frame of C's, which lives as long as the process; nobody writes it meanwhile.
        let words = unsafe { &*table };
        words.get(index).copied()
    }

    fn translate(&mut self, bfn: u64) -> Option<(u64, bool)> {
        let (root, levels, tag) = self.entry?;
        if let Some(found) = self.cached.get(&(tag, bfn)) {
            return Some(*found);
        }
        if !in_width(&self.facts, levels, bfn) {
            return None;
        }
        let place = Place { table: Mfn(root), level: levels, rights: Rights::ALL };
        match walk_by(|place, index| self.read(place, index), &self.facts, place, bfn, |_| {}) {
            Walk::Leaf { frame, level: 1, rights, .. } => {
                self.cached.insert((tag, bfn), (frame.0, rights.write));
                Some((frame.0, rights.write))
            }
            Walk::NotPresent { .. } => None,
            other => panic!("the unit found {other:?}"),
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn machine_first_frame(frames: *mut [u64; 512], count: usize) -> u64 {
    with(|unit| (unit.frames, unit.count) = (frames, count as u64));
    FIRST
}

#[unsafe(no_mangle)]
extern "C" fn machine_unit() -> Shared<DrivenUnit> {
    Shared::null()
}

#[unsafe(no_mangle)]
static machine_device: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };

#[unsafe(no_mangle)]
extern "C" fn machine_attach(
    _: *mut c_void,
    _: u16,
    _: PciDevice,
    root: u64,
    levels: u32,
    tag: u16,
) -> c_int {
    let levels = u8::try_from(levels).unwrap();
    with(|unit| {
        assert!(supports_levels(&unit.facts, levels) && tag != 0);
        unit.entry = Some((root, levels, tag));
    });
    0
}

#[unsafe(no_mangle)]
extern "C" fn machine_block(_: *mut c_void, _: u16, _: PciDevice) -> c_int {
    with(|unit| unit.entry = None);
    0
}

#[unsafe(no_mangle)]
extern "C" fn machine_invalidate(
    _: *mut c_void,
    _: u16,
    tag: u16,
    what: u32,
    first: u64,
    last: u64,
) -> c_int {
    let hit = |bfn: u64| what == 2 || (first..=last).contains(&bfn);
    with(|unit| unit.cached.retain(|(of, bfn), _| *of != tag || !hit(*bfn)));
    0
}

#[unsafe(no_mangle)]
extern "C" fn machine_sync_map(_: *mut c_void, _: u16, _: u16, _: u64, _: u64) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn machine_stop(_: *mut c_void, _: u16, _: PciDevice) {
    with(|unit| unit.entry = None);
}

#[unsafe(no_mangle)]
extern "C" fn machine_restart(_: *mut c_void, _: u16, _: PciDevice) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn machine_dma_write(address: u64, from: *const c_void, bytes: usize) -> c_int {
    let offset = usize::try_from(address & 0xfff).unwrap();
    assert!(offset + bytes <= PAGE_SIZE);
    with(|unit| {
        let Some((frame, true)) = unit.translate(address >> 12) else { return -1 };
        let to = unit.frame(frame).expect("a page of C's").cast::<u8>().wrapping_add(offset);
        // SAFETY: so many bytes are given, and they are within a frame of C's.
        unsafe { ptr::copy(from.cast::<u8>(), to, bytes) };
        0
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn machine_print(line: *const c_char) {
    // SAFETY: C gives a text.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy().into_owned();
    with(|unit| unit.printed.push(line));
}

#[unsafe(no_mangle)]
extern "C" fn machine_facts() -> Facts {
    with(|unit| unit.facts).into()
}
