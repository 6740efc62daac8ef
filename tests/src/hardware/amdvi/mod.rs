//! A unit of AMD-Vi: its registers, its rings, and what it caches.
//!
//! ```text
//!  driver ─► registers ─► commands ─► caches ◄─ request, interrupt: what a device meets
//!                │            │          │
//!                ▼            ▼          ▼
//!               log ◄──────── ram: device table, rings, status
//! ```
//!
//! Written from the AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, Revision
//! 3.08, and shares no code with the driver. It keeps what it has read of the device table, and what it has
//! translated, until it is told to forget that; it can be late, never answer, or be gone; it does what errata
//! say; and it notes what a driver must not do ([`Mistake`]).

mod caches;
mod commands;
mod log;
mod registers;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Host, TableRoot},
    sync::{AtomicU64, Ordering},
};

pub use caches::{Interrupt, Verdict};
pub use commands::{Command, Manner};
pub use registers::{control, status};

use crate::hardware::Ram;

use registers::Registers;

/// What a driver must not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// The device was let through untranslated although the unit was on.
    LetThrough(u16),
    /// The unit was switched off.
    SwitchedOff,
    /// A ring was moved while it was in use: the offset of the register.
    RingMoved(usize),
    /// These bits of the control register were set, which drivers of such units know nothing of.
    Control(u64),
    /// The command is none.
    Command([u64; 2]),
    /// A store where there is no memory, or a register that is not there.
    Nowhere(u64),
}

/// One unit and the memory that it reads and writes. It is the rest of the machine, too: [`Host`].
#[derive(Debug)]
pub struct Unit {
    /// What is lent to its driver.
    pub ram: Ram,
    now: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    registers: Registers,
    /// It is no longer there: its registers read as all ones.
    gone: bool,
    manner: Manner,
    /// The command head tells the end of the ring instead of its begin, as QEMU's does.
    counts_to_the_end: bool,
    /// The last command was in the last entry.
    at_the_end: bool,
    /// Looks at its registers since the last command came.
    looks: usize,
    /// Bits of the status register that stay as they are, whatever the control register says.
    deaf: u64,
    /// Entries of the device table by id, as they were read.
    entries: HashMap<u16, [u64; 4]>,
    /// Words about interrupts, likewise: of interrupt tables that were read.
    interrupt_tables: HashMap<u16, u64>,
    /// By domain id and bus frame, the table that was walked.
    translations: HashMap<(u16, u64), TableRoot>,
    /// Ids that are asked for at every access to a register.
    watched: Vec<u16>,
    done: Vec<[u64; 2]>,
    /// Entries of the log that come later than their tail: how much, where, and what.
    late: Vec<(u64, u64, [u64; 2])>,
    /// How much later.
    lateness: u64,
    mistakes: Vec<Mistake>,
}

impl Unit {
    /// A unit that is off, with `pages` pages of memory and these extended features.
    #[must_use]
    pub fn new(pages: usize, extended_features: u64) -> Self {
        Self::at(Mfn(0x4_0000), pages, extended_features)
    }

    /// The same, with its memory from this frame on.
    #[must_use]
    pub fn at(first: Mfn, pages: usize, extended_features: u64) -> Self {
        let registers = Registers { extended_features, ..Registers::default() };
        let state = Mutex::new(State { registers, ..State::default() });
        Self { ram: Ram::new(first, pages, 0), now: AtomicU64::new(0), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How it does its work from now on.
    pub fn set_manner(&self, manner: Manner) {
        let mut state = self.state();
        (state.manner, state.looks) = (manner, 0);
    }

    /// After the command in the last entry its head tells the end of the ring, and not the begin.
    pub fn count_to_the_end(&self) {
        self.state().counts_to_the_end = true;
    }

    /// Its registers are not there any more.
    pub fn vanish(&self) {
        self.state().gone = true;
    }

    /// These bits of the status register stay as they are.
    pub fn set_deaf(&self, bits: u64) {
        self.state().deaf = bits;
    }

    /// Entries of the log come so many microseconds after their tail; `u64::MAX`: never.
    pub fn set_lateness(&self, microseconds: u64) {
        self.state().lateness = microseconds;
    }

    /// Asks for `id` at every access to a register from now on, and keeps what was read to answer.
    pub fn watch(&self, ids: &[u16]) {
        self.state().watched = ids.to_vec();
    }

    /// What must not have happened, but did, so far.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        self.state().mistakes.clone()
    }

    /// What it was told and has done since this was asked last.
    pub fn take_done(&self) -> Vec<Command> {
        self.take_words().into_iter().filter_map(commands::decode).collect()
    }

    /// The same, as it stood in the ring.
    pub fn take_words(&self) -> Vec<[u64; 2]> {
        std::mem::take(&mut self.state().done)
    }

    /// The control and the status register.
    #[must_use]
    pub fn control_and_status(&self) -> (u64, u64) {
        let state = self.state();
        (state.registers.control, state.registers.status)
    }

    /// What time it is, without letting it pass.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The machine slept: registers have lost what they held, nothing is cached.
    pub fn lose_power(&self) {
        let mut state = self.state();
        let extended_features = state.registers.extended_features;
        state.registers = Registers { extended_features, ..Registers::default() };
        state.entries.clear();
        state.interrupt_tables.clear();
        state.translations.clear();
    }
}

impl Host for Unit {
    fn now_us(&self) -> u64 {
        self.state().deliver(&self.ram);
        self.now.fetch_add(1, Ordering::Relaxed)
    }

    fn write_back(&self, words: &[AtomicU64]) {
        self.ram.write_back(words);
    }
}
