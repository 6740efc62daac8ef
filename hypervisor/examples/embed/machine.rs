//! A machine in a process: memory, one VT-d unit that walks second-stage tables (VT-d specification 4.1, section
//! 9.8) and remembers translations until it is told to forget them, and one device.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use pviommu_hypervisor::{
    abi::PciDevice,
    addr::{Mfn, MfnRange},
    format::FormatKind,
    platform::{Invalidation, TABLE_ENTRIES, TableRoot, Tag, UnitFacts, UnitFeatures},
};

/// The device.
pub(crate) const DEVICE: PciDevice = PciDevice::new(0, 0, 3, 0);
/// What the unit can do.
pub(crate) const FACTS: UnitFacts = UnitFacts {
    format: FormatKind::VtdSecondStage,
    features: UnitFeatures::COHERENT.union(UnitFeatures::LEVELS_4),
    bus_address_bits: 48,
    host_address_bits: 46,
    tags: 64,
};

/// The guest's memory, in frames, and where it begins.
const GUEST_FRAMES: u64 = 32;
const FIRST: u64 = 0x1000;
/// Frames of page tables, behind it.
const TABLES: u64 = 64;

/// The device was refused.
#[derive(Debug)]
pub(crate) struct Refused;

/// What there is.
#[derive(Debug)]
pub(crate) struct Board {
    ram: Mutex<Vec<[u8; 4096]>>,
    references: Vec<AtomicI64>,
    tables: Vec<[AtomicU64; TABLE_ENTRIES]>,
    used: Mutex<Vec<bool>>,
    /// The device's table; `None`: all it does is refused.
    entry: Mutex<Option<(TableRoot, Tag)>>,
    /// Leaves, by tag and bus frame.
    cached: Mutex<HashMap<(u16, u64), u64>>,
}

impl Board {
    pub(crate) fn new() -> Self {
        let zeroed = |_| core::array::from_fn(|_| AtomicU64::new(0));
        Self {
            ram: Mutex::new(vec![[0; 4096]; GUEST_FRAMES as usize]),
            references: (0..GUEST_FRAMES).map(|_| AtomicI64::new(0)).collect(),
            tables: (0..TABLES).map(zeroed).collect(),
            used: Mutex::new(vec![false; TABLES as usize]),
            entry: Mutex::new(None),
            cached: Mutex::default(),
        }
    }

    /// The frame behind the guest's; its memory is scattered: here, backwards.
    pub(crate) fn behind(&self, gfn: u64) -> Option<Mfn> {
        (gfn < GUEST_FRAMES).then(|| Mfn(FIRST + GUEST_FRAMES - 1 - gfn))
    }

    pub(crate) fn count_reference(&self, frame: Mfn, by: i64) {
        let count = self.references.get((frame.0 - FIRST) as usize).expect("a frame of the guest");
        assert!(count.fetch_add(by, Ordering::Relaxed) + by >= 0, "given back once too often");
    }

    /// References of devices to all frames.
    pub(crate) fn references(&self) -> i64 {
        self.references.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn table_frames(&self) -> MfnRange {
        MfnRange::of_pages(Mfn(FIRST + GUEST_FRAMES), TABLES).expect("there are some")
    }

    pub(crate) fn take_table(&self) -> Option<Mfn> {
        let mut used = self.used.lock().unwrap();
        let free = used.iter_mut().zip(self.table_frames().first().0..).find(|(used, _)| !**used);
        let (used, frame) = free?;
        *used = true;
        self.table(Mfn(frame)).iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Some(Mfn(frame))
    }

    pub(crate) fn give_table(&self, frame: Mfn) {
        let place = (frame.0 - self.table_frames().first().0) as usize;
        *self.used.lock().unwrap().get_mut(place).expect("a table") = false;
    }

    pub(crate) fn tables_in_use(&self) -> usize {
        self.used.lock().unwrap().iter().filter(|used| **used).count()
    }

    pub(crate) fn table(&self, frame: Mfn) -> &[AtomicU64] {
        let place = frame.0.checked_sub(self.table_frames().first().0);
        let table = place.and_then(|place| self.tables.get(place as usize));
        table.map_or(&[], |table| table)
    }

    pub(crate) fn set_entry(&self, entry: Option<(TableRoot, Tag)>) {
        *self.entry.lock().unwrap() = entry;
    }

    pub(crate) fn forget(&self, tag: Tag, what: Invalidation) {
        let bfns = match what {
            Invalidation::Leaves(bfns) | Invalidation::Tables(bfns) => {
                bfns.first().0..=bfns.last().0
            }
            _ => 0..=u64::MAX,
        };
        self.cached.lock().unwrap().retain(|(of, bfn), _| *of != tag.0 || !bfns.contains(bfn));
    }

    /// The leaf for a bus frame: bit 0 lets read, bit 1 lets write.
    fn translate(&self, bfn: u64) -> Option<u64> {
        let (root, tag) = (*self.entry.lock().unwrap())?;
        let mut cached = self.cached.lock().unwrap();
        if let Some(leaf) = cached.get(&(tag.0, bfn)) {
            return Some(*leaf);
        }
        let mut entry = root.frame.0 << 12 | 3;
        for level in (0..u32::from(root.levels)).rev() {
            let index = bfn >> (9 * level) & 0x1ff;
            let table = self.table(Mfn(entry >> 12 & 0xff_ffff_ffff));
            entry = table.get(index as usize)?.load(Ordering::Acquire);
            if entry & 3 == 0 {
                return None;
            }
        }
        cached.insert((tag.0, bfn), entry);
        Some(entry)
    }

    /// The device writes at a bus address, within a page.
    pub(crate) fn dma_write(&self, address: u64, from: &[u8]) -> Result<(), Refused> {
        let leaf = self.translate(address >> 12).filter(|leaf| leaf & 2 != 0).ok_or(Refused)?;
        let frame = leaf >> 12 & 0xff_ffff_ffff;
        let mut ram = self.ram.lock().unwrap();
        let page = ram.get_mut((frame - FIRST) as usize).expect("a frame of the guest");
        let begin = (address & 0xfff) as usize;
        page.get_mut(begin..begin + from.len()).ok_or(Refused)?.copy_from_slice(from);
        Ok(())
    }

    /// Copies memory of the guest; `None` if a byte is not there.
    pub(crate) fn guest_read(&self, address: u64, to: &mut [u8]) -> Option<()> {
        let ram = self.ram.lock().unwrap();
        for (byte, at) in to.iter_mut().zip(address..) {
            let frame = self.behind(at >> 12)?;
            *byte = *ram.get((frame.0 - FIRST) as usize)?.get((at & 0xfff) as usize)?;
        }
        Some(())
    }

    /// The same, the other way.
    pub(crate) fn guest_write(&self, address: u64, from: &[u8]) -> Option<()> {
        let mut ram = self.ram.lock().unwrap();
        for (byte, at) in from.iter().zip(address..) {
            let frame = self.behind(at >> 12)?;
            *ram.get_mut((frame.0 - FIRST) as usize)?.get_mut((at & 0xfff) as usize)? = *byte;
        }
        Some(())
    }
}
