//! The raw floor: a walk of four levels and a plain store. Nothing is checked, no table is ever made where one is
//! there, and nobody else may look: nothing that changes such a table does less.
#![expect(unsafe_code, reason = "nothing is checked, not even that a table is there")]

use super::{candidate::Candidate, work::LARGE_PAGES};

type Entries = [u64; 512];

#[repr(align(4096))]
struct Table(Entries);

/// Present, readable and writable.
const LEAF: u64 = 3;
const LARGE: u64 = 1 << 7 | LEAF;
const FRAME: u64 = !0xfff;

pub(crate) struct RawFloor {
    root: *mut Entries,
}

fn new_table() -> *mut Entries {
    let table = &mut Box::leak(Box::new(Table([0; 512]))).0;
    let table: *mut Entries = table;
    table.expose_provenance();
    table
}

fn index(bfn: u64, level: u32) -> usize {
    (bfn >> (9 * level)) as usize & 511
}

impl RawFloor {
    /// All tables that it will need are made beforehand.
    pub(crate) fn new(work: &super::work::Work) -> Self {
        let floor = Self { root: new_table() };
        for &(bfn, _) in &work.singles {
            floor.build(bfn, 1);
        }
        for &(bfn, _) in &work.large {
            floor.build(bfn, 2);
        }
        floor
    }

    fn build(&self, bfn: u64, to: u32) {
        let mut table = self.root;
        for level in (to..4).rev() {
            // SAFETY: tables live as long as the process, and this one is not shared.
            let entry = unsafe { &mut (*table)[index(bfn, level)] };
            if *entry == 0 {
                *entry = new_table().expose_provenance() as u64 | LEAF;
            }
            table = std::ptr::with_exposed_provenance_mut((*entry & FRAME) as usize);
        }
    }

    /// The table of `level` for `bfn`.
    #[inline]
    fn walk(&self, bfn: u64, level: u32) -> *mut Entries {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            // SAFETY: every table on the way was made by `new`.
            let entry = unsafe { (*table)[index(bfn, above)] };
            table = std::ptr::with_exposed_provenance_mut((entry & FRAME) as usize);
        }
        table
    }

    /// The entries of a leaf table from that of `bfn` on.
    #[inline]
    fn leaves(&mut self, bfn: u64, pages: u64) -> &mut [u64] {
        let table = self.walk(bfn, 0);
        let first = index(bfn, 0);
        // SAFETY: as in `walk`; the harness stays within one leaf table.
        let entries: &mut Entries = unsafe { &mut *table };
        &mut entries[first..first + pages as usize]
    }
}

impl Candidate for RawFloor {
    const NAME: &'static str = "raw-floor";

    #[inline]
    fn map_one(&mut self, bfn: u64, mfn: u64) {
        // SAFETY: as in `walk`.
        unsafe { (*self.walk(bfn, 0))[index(bfn, 0)] = mfn << 12 | LEAF };
    }

    #[inline]
    fn unmap_one(&mut self, bfn: u64) {
        // SAFETY: as in `walk`.
        unsafe { (*self.walk(bfn, 0))[index(bfn, 0)] = 0 };
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        let mut raw = mfn << 12 | LEAF;
        for entry in self.leaves(bfn, pages) {
            *entry = raw;
            raw += 1 << 12;
        }
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        self.leaves(bfn, pages).fill(0);
    }

    #[inline]
    fn map_large(&mut self, bfn: u64, mfn: u64) {
        // SAFETY: as in `walk`.
        unsafe { (*self.walk(bfn, 1))[index(bfn, 1)] = mfn << 12 | LARGE };
    }

    #[inline]
    fn unmap_large(&mut self, bfn: u64) {
        // SAFETY: as in `walk`.
        unsafe { (*self.walk(bfn, 1))[index(bfn, 1)] = 0 };
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        let mut table = self.root;
        for level in (0..4).rev() {
            // SAFETY: as in `walk`; where no table is, the entry is 0.
            let entry = unsafe { (*table)[index(bfn, level)] };
            if entry == 0 {
                return None;
            }
            if level == 0 || entry & LARGE == LARGE {
                let inside = if level == 0 { 0 } else { bfn % LARGE_PAGES };
                return Some((entry >> 12) + inside);
            }
            table = std::ptr::with_exposed_provenance_mut((entry & FRAME) as usize);
        }
        None
    }
}
