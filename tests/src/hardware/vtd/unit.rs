//! The unit, as its driver and as its devices see it.

use std::{
    fmt,
    sync::{Mutex, MutexGuard},
};

use pviommu_hypervisor::platform::RegisterBlock;

use super::{
    Act, Config, Manner, Outcome, Violation,
    caches::InFlight,
    descriptor::{Pages, Scope},
    register::{
        CAP, CCMD, ECAP, EPM, FEADDR, FECTL, FEDATA, FEUADDR, FSTS, GCMD, GSTS, IQA, IQH, IQT,
        IRTA, PMEN, PRS, RTADDR, VER,
        global::{IRE, QIE, TE},
        status::PFO,
    },
    state::State,
};
use crate::{hardware::Ram, machine::frames::lock};

const BUSY: u64 = 1 << 63;

/// A unit. Its registers are [`RegisterBlock`] of `&Unit`.
pub struct Unit<'f> {
    ram: &'f Ram,
    state: Mutex<State>,
}

impl<'f> Unit<'f> {
    /// A unit after reset.
    #[must_use]
    pub fn new(ram: &'f Ram, config: Config) -> Self {
        Self { ram, state: Mutex::new(State::new(config)) }
    }

    /// How it behaves from now on.
    pub fn set(&self, manner: Manner) {
        lock(&self.state).manner = manner;
    }

    /// How it behaves.
    #[must_use]
    pub fn manner(&self) -> Manner {
        lock(&self.state).manner
    }

    /// Firmware has left it on: its root table (0: no translation), its queue (0: none), and whether it
    /// remaps interrupts. Memory is protected, if the unit can.
    pub fn leave_on(&self, root: u64, queue: u64, remapping: bool) {
        let mut state = lock(&self.state);
        state.left_on(root, root != 0, queue, remapping);
        state.protected = if state.config.cap & 3 << 5 != 0 { EPM | PRS } else { 0 };
    }

    /// The machine sleeps: all registers are as after reset, and nothing is cached. What it has told of
    /// itself stays.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        let new = State::new(state.config);
        let old = std::mem::replace(&mut *state, new);
        (state.acts, state.violations, state.holes) = (old.acts, old.violations, old.holes);
    }

    /// A request of a device for a byte.
    pub fn request(&self, source: u16, address: u64, write: bool) -> Outcome {
        lock(&self.state).request(self.ram, source, address, write)
    }

    /// From now on devices make a request for a page whenever anybody touches a register.
    pub fn keep_busy(&self, devices: &[(u16, u64)]) {
        lock(&self.state).busy = devices.to_vec();
    }

    /// Leaves a page out of the table at `root`, or puts it in again.
    pub fn set_hole(&self, root: u64, page: u64, hole: bool) {
        let mut state = lock(&self.state);
        if hole {
            state.holes.insert((root, page));
        } else {
            state.holes.remove(&(root, page));
        }
    }

    /// True if requests that were translated by the table at `root` are still on their way.
    #[must_use]
    pub fn in_flight(&self, root: u64) -> bool {
        lock(&self.state).caches.in_flight.iter().any(|it: &InFlight| it.root == root)
    }

    /// True if a translation is cached; and if tables on the way to it are.
    #[must_use]
    pub fn holds(&self, domain: u16, page: u64) -> (bool, bool) {
        let caches = &lock(&self.state).caches;
        let translation = caches.translations.contains_key(&(domain, page));
        (translation, caches.ways.contains(&(domain, page >> 9)))
    }

    /// A device confirms an invalidation that nobody asked for.
    pub fn confuse(&self) {
        lock(&self.state).confuse();
    }

    /// Does what it was slow to do.
    pub fn catch_up(&self) {
        let mut state = lock(&self.state);
        state.run(self.ram);
        state.finish(self.ram);
    }

    /// The global status.
    #[must_use]
    pub fn status(&self) -> u32 {
        lock(&self.state).status
    }

    /// The root table that it took over.
    #[must_use]
    pub fn root(&self) -> Option<u64> {
        lock(&self.state).root
    }

    /// The table of interrupts that it took over.
    #[must_use]
    pub fn interrupt_table(&self) -> Option<u64> {
        lock(&self.state).interrupts
    }

    /// What it was told since this was last asked.
    pub fn take_acts(&self) -> Vec<Act> {
        std::mem::take(&mut lock(&self.state).acts)
    }

    /// What no driver may do.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.state).violations.clone()
    }

    /// Time for others, then the state.
    fn touched(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        for number in 0..state.busy.len() {
            let (source, page) = state.busy[number];
            state.request(self.ram, source, page << 12, true);
            state.request(self.ram, source, page << 12, false);
        }
        state
    }
}

impl State {
    fn read(&mut self, ram: &Ram, offset: usize) -> Option<u64> {
        let (records, number) = self.config.records();
        let iotlb = self.config.iotlb();
        Some(match offset {
            CAP => self.config.cap,
            ECAP => self.config.ecap,
            RTADDR => self.root_register,
            CCMD => self.context_command,
            IQH => self.read_head(ram),
            IQT => self.tail << 4,
            IQA => self.queue,
            IRTA => self.interrupt_register,
            _ if offset == iotlb + 8 => self.iotlb_command,
            _ if (records..records + 16 * number).contains(&offset) => {
                self.records.read(offset - records)?
            }
            _ => return None,
        })
    }

    fn write(&mut self, ram: &Ram, offset: usize, value: u64) -> Option<()> {
        let (records, number) = self.config.records();
        let iotlb = self.config.iotlb();
        match offset {
            RTADDR => {
                let (old, new) = (self.root_register >> 10 & 3, value >> 10 & 3);
                if self.is(TE) && old != new {
                    self.violations.push(Violation::OtherMode);
                }
                self.root_register = value;
            }
            CCMD => self.forget_contexts_by_register(ram, value),
            IQT => self.set_tail(ram, value),
            IQA => {
                if self.is(QIE) {
                    self.violations.push(Violation::QueueMoved);
                }
                if value & 0xff8 != 0 {
                    self.violations.push(Violation::Reserved(IQA, value));
                }
                self.queue = value;
            }
            IRTA => self.interrupt_register = value,
            _ if offset == iotlb + 8 => self.forget_translations_by_register(ram, value),
            _ if (records..records + 16 * number).contains(&offset) => {
                self.records.write(offset - records, value);
            }
            _ => return None,
        }
        Some(())
    }

    fn may_use_registers(&mut self) -> bool {
        if self.is(QIE) {
            self.violations.push(Violation::RegisterWhileQueue);
        }
        !self.is(QIE) && !self.manner.registers_hang
    }

    fn forget_contexts_by_register(&mut self, ram: &Ram, value: u64) {
        self.context_command = value;
        if value & BUSY != 0 && self.may_use_registers() {
            if value & !BUSY != 1 << 61 {
                self.violations.push(Violation::Reserved(CCMD, value));
            }
            self.forget_contexts(ram, Scope::All);
            self.context_command &= !BUSY;
            self.acts.push(Act::ForgotContexts);
        }
    }

    fn forget_translations_by_register(&mut self, ram: &Ram, value: u64) {
        self.iotlb_command = value;
        if value & BUSY != 0 && self.may_use_registers() {
            if value & !(BUSY | 3 << 48) != 1 << 60 {
                self.violations.push(Violation::Reserved(self.config.iotlb() + 8, value));
            }
            let drains = (value & 1 << 48 != 0, value & 1 << 49 != 0);
            self.forget_translations(ram, Pages::All, drains);
            self.iotlb_command &= !BUSY;
            self.acts.push(Act::ForgotTranslations);
        }
    }

    fn read_small(&mut self, ram: &Ram, offset: usize) -> Option<u32> {
        Some(match offset {
            VER => self.config.ver,
            GCMD => 0,
            GSTS => self.read_status(ram),
            FSTS => self.errors | self.records.status(),
            FECTL => self.fault_control,
            FEDATA => self.fault_message[0],
            FEADDR => self.fault_message[1],
            FEUADDR => self.fault_message[2],
            PMEN => self.protected,
            _ => return None,
        })
    }

    fn write_small(&mut self, ram: &Ram, offset: usize, value: u32) -> Option<()> {
        match offset {
            GCMD => self.command(ram, value),
            FSTS => {
                if value & PFO != 0 {
                    self.records.clear_overflow();
                }
                self.clear_errors(ram, value);
            }
            FECTL => self.fault_control = value & 1 << 31,
            FEDATA => self.fault_message[0] = value,
            FEADDR => self.fault_message[1] = value,
            FEUADDR => self.fault_message[2] = value,
            PMEN => self.protect(value),
            _ => return None,
        }
        Some(())
    }

    fn protect(&mut self, value: u32) {
        let was = self.protected & PRS != 0;
        self.protected = value & EPM | self.protected & PRS;
        if value & EPM == 0 && was && !self.manner.protects_for_ever {
            if !self.is(TE) {
                self.violations.push(Violation::UnprotectedEarly);
            }
            self.protected = 0;
            self.acts.push(Act::Unprotected);
        }
    }

    fn missed(&mut self, offset: usize) {
        self.violations.push(Violation::NoRegister(offset));
    }
}

impl RegisterBlock for &Unit<'_> {
    fn read32(&self, offset: usize) -> u32 {
        let mut state = self.touched();
        if state.manner.absent {
            return u32::MAX;
        }
        let value = state.read_small(self.ram, offset);
        value.unwrap_or_else(|| {
            state.missed(offset);
            u32::MAX
        })
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut state = self.touched();
        if !state.manner.absent && state.write_small(self.ram, offset, value).is_none() {
            state.missed(offset);
        }
    }

    fn read64(&self, offset: usize) -> u64 {
        let mut state = self.touched();
        if state.manner.absent {
            return u64::MAX;
        }
        let value = state.read(self.ram, offset);
        value.unwrap_or_else(|| {
            state.missed(offset);
            u64::MAX
        })
    }

    fn write64(&self, offset: usize, value: u64) {
        let mut state = self.touched();
        if !state.manner.absent && state.write(self.ram, offset, value).is_none() {
            state.missed(offset);
        }
    }
}

impl Unit<'_> {
    /// True if requests are translated, and interrupts remapped.
    #[must_use]
    pub fn is_on(&self) -> (bool, bool) {
        let state = lock(&self.state);
        (state.is(TE), state.is(IRE))
    }
}

impl fmt::Debug for Unit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Unit").field("config", &state.config).finish_non_exhaustive()
    }
}
