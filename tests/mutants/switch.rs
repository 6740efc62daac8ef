//! Which mutant is on: one number for the whole process. Only in the copy of the tree that is tested.

extern crate std;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{
    env,
    fs::{File, OpenOptions},
    io::Write,
    sync::OnceLock,
};

// Mutants have larger numbers.
const UNKNOWN: u32 = 0;
const RECORDING: u32 = 1;
const NONE: u32 = 2;

static CHOSEN: AtomicU32 = AtomicU32::new(UNKNOWN);
static REACHED: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];
static RECORD: OnceLock<File> = OnceLock::new();

/// True if the program is to be the mutant `n`.
#[inline(always)]
pub(crate) fn on(n: u32) -> bool {
    let chosen = CHOSEN.load(Relaxed);
    chosen == n || (chosen < NONE && ask(n))
}

#[cold]
#[inline(never)]
fn ask(n: u32) -> bool {
    let mut chosen = CHOSEN.load(Relaxed);
    if chosen == UNKNOWN {
        chosen = choose();
        CHOSEN.store(chosen, Relaxed);
    }
    if chosen == RECORDING {
        record(n);
    }
    chosen == n
}

fn choose() -> u32 {
    if let Some(path) = env::var_os("PVIOMMU_MUTANTS_REACHED") {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let _ = RECORD.set(file);
        return RECORDING;
    }
    env::var("PVIOMMU_MUTANT").map_or(NONE, |number| number.parse().unwrap())
}

/// Writes the number, once in this process.
fn record(n: u32) {
    let (word, bit) = (n as usize / 32, 1 << (n % 32));
    if REACHED[word].fetch_or(bit, Relaxed) & bit == 0 {
        let line = std::format!("{n}\n");
        RECORD.get().unwrap().write_all(line.as_bytes()).unwrap();
    }
}
