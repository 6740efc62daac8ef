//! The registers: section 3.4.

use pviommu_hypervisor::platform::RegisterBlock;

use super::{Mistake, State, Unit};

/// Bits of the control register (section 3.4.4).
pub mod control {
    /// IommuEn.
    pub const ENABLED: u64 = 1 << 0;
    /// HtTunEn.
    pub const TUNNEL: u64 = 1 << 1;
    /// EventLogEn.
    pub const EVENT_LOG: u64 = 1 << 2;
    /// EventIntEn.
    pub const EVENT_INTERRUPT: u64 = 1 << 3;
    /// PassPW, ResPassPW.
    pub const PASS: u64 = 3 << 8;
    /// Coherent.
    pub const COHERENT: u64 = 1 << 10;
    /// Isoc.
    pub const ISOCHRONOUS: u64 = 1 << 11;
    /// CmdBufEn.
    pub const COMMANDS: u64 = 1 << 12;
    /// GAEn, XTEn.
    pub const LONG_X2APIC: u64 = 1 << 17 | 1 << 50;
}

/// Bits of the status register (section 3.4.13).
pub mod status {
    /// EventOverflow.
    pub const OVERFLOW: u64 = 1 << 0;
    /// EventLogInt.
    pub const EVENT: u64 = 1 << 1;
    /// EventLogRun.
    pub const EVENT_LOG_RUNS: u64 = 1 << 3;
    /// CmdBufRun.
    pub const COMMANDS_RUN: u64 = 1 << 4;
}

/// What a driver of host translation has any business with.
const KNOWN: u64 = control::ENABLED
    | control::TUNNEL
    | control::EVENT_LOG
    | control::EVENT_INTERRUPT
    | control::PASS
    | control::COHERENT
    | control::ISOCHRONOUS
    | control::COMMANDS
    | control::LONG_X2APIC;

/// Bits that are cleared by writing a one.
const CLEARED: u64 = status::OVERFLOW | status::EVENT | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10;

/// Offsets in a ring.
const OFFSET: u64 = 0x7_fff0;

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Registers {
    pub(super) device_table: u64,
    pub(super) commands: u64,
    pub(super) events: u64,
    pub(super) control: u64,
    pub(super) exclusion: [u64; 2],
    pub(super) extended_features: u64,
    pub(super) command_head: u64,
    pub(super) command_tail: u64,
    pub(super) event_head: u64,
    pub(super) event_tail: u64,
    pub(super) status: u64,
}

/// Address of a ring, by its register.
pub(super) const fn address(base: u64) -> u64 {
    base & 0x000f_ffff_ffff_f000
}

/// Bytes of a ring.
pub(super) const fn size(base: u64) -> u64 {
    16 << (base >> 56 & 0xf)
}

impl Registers {
    pub(super) const fn is_on(&self) -> bool {
        self.control & control::ENABLED != 0
    }

    pub(super) const fn snoops(&self) -> bool {
        self.control & control::COHERENT != 0
    }

    pub(super) const fn has(&self, status: u64) -> bool {
        self.status & status != 0
    }
}

impl State {
    /// What follows from the control register.
    fn set_control(&mut self, value: u64) {
        let before = self.registers.control;
        if value & !KNOWN & !before != 0 {
            self.mistakes.push(Mistake::Control(value & !KNOWN));
        }
        if before & !value & control::ENABLED != 0 {
            self.mistakes.push(Mistake::SwitchedOff);
        }
        self.registers.control = value;
        let on = value & control::ENABLED != 0;
        let runs = [
            (control::EVENT_LOG, status::EVENT_LOG_RUNS),
            (control::COMMANDS, status::COMMANDS_RUN),
        ];
        for (enable, run) in runs {
            if self.deaf & run != 0 {
                continue;
            }
            let (was, is) = (before & enable != 0, value & enable != 0);
            if !(on && is) {
                self.registers.status &= !run;
            } else if !was || before & control::ENABLED == 0 {
                self.registers.status |= run;
            }
        }
    }

    /// A store to a register of a ring, which must not run.
    fn moves(&mut self, offset: usize, run: u64) {
        if self.registers.has(run) {
            self.mistakes.push(Mistake::RingMoved(offset));
        }
    }
}

impl RegisterBlock for Unit {
    fn read32(&self, offset: usize) -> u32 {
        (self.read64(offset & !7) >> (8 * (offset & 4))) as u32
    }

    fn write32(&self, offset: usize, value: u32) {
        // None of the registers is of 32 bits.
        self.state().mistakes.push(Mistake::Nowhere(u64::from(value) << 32 | offset as u64));
    }

    fn read64(&self, offset: usize) -> u64 {
        let mut state = self.state();
        if state.gone {
            return u64::MAX;
        }
        state.instant(&self.ram);
        if matches!(offset, 0x2000 | 0x2020) {
            state.looks += 1;
            state.work_if_due(&self.ram);
        }
        let it = &state.registers;
        match offset {
            0x00 => it.device_table,
            0x08 => it.commands,
            0x10 => it.events,
            0x18 => it.control,
            0x20 => it.exclusion[0],
            0x28 => it.exclusion[1],
            0x30 => it.extended_features,
            0x2000 if state.counts_to_the_end && state.at_the_end => size(it.commands),
            0x2000 => it.command_head,
            0x2008 => it.command_tail,
            0x2010 => it.event_head,
            0x2018 => it.event_tail,
            0x2020 => it.status,
            _ => 0,
        }
    }

    fn write64(&self, offset: usize, value: u64) {
        let mut state = self.state();
        if state.gone {
            return;
        }
        state.instant(&self.ram);
        match offset {
            0x00 => state.registers.device_table = value,
            0x08 => {
                state.moves(offset, status::COMMANDS_RUN);
                state.registers.commands = value;
            }
            0x10 => {
                state.moves(offset, status::EVENT_LOG_RUNS);
                state.registers.events = value;
            }
            0x18 => state.set_control(value),
            0x20 => state.registers.exclusion[0] = value,
            0x28 => state.registers.exclusion[1] = value,
            0x2000 => {
                state.moves(offset, status::COMMANDS_RUN);
                state.registers.command_head = value & OFFSET;
            }
            0x2008 => {
                state.registers.command_tail = value & OFFSET;
                state.looks = 0;
                state.work_if_due(&self.ram);
            }
            0x2010 => state.registers.event_head = value & OFFSET,
            0x2018 => {
                state.moves(offset, status::EVENT_LOG_RUNS);
                state.registers.event_tail = value & OFFSET;
            }
            0x2020 => state.registers.status &= !(value & CLEARED),
            _ => state.mistakes.push(Mistake::Nowhere(offset as u64)),
        }
        state.instant(&self.ram);
    }
}
