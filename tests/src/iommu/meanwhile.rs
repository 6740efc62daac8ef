//! What a unit does of its own accord: it loads translations that no device has asked for, and its
//! write buffer drains.
//!
//! A unit may load any translation at any instant. One that is never used hurts nobody, so this
//! one loads those around the addresses that were used or changed last.

use pviommu_abi::PciDevice;

use super::{
    unit::{State, UnitModel},
    walker,
};
use crate::{
    machine::{Dice, memory::Memory},
    sync::lock,
};

/// Addresses a unit remembers.
const RECENT: usize = 32;

/// Bus frames that were used or changed last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bfns: Vec<u64>,
    next: usize,
}

impl Recent {
    /// Remembers `bfn` instead of the one that is remembered longest.
    pub(super) fn note(&mut self, bfn: u64) {
        let last = self.next.checked_sub(1).unwrap_or(RECENT - 1);
        if self.bfns.get(last) == Some(&bfn) {
            return;
        }
        if self.bfns.len() < RECENT {
            self.bfns.push(bfn);
        } else {
            self.bfns[self.next] = bfn;
        }
        self.next = (self.next + 1) % RECENT;
    }

    /// One of them, or a frame near it: next to it, at the other end of the next table, or under
    /// another entry of some level.
    fn near(&self, dice: &mut Dice) -> Option<u64> {
        let bfn = *self.bfns.get(dice.below(self.bfns.len().max(1)))?;
        Some(match dice.below(8) {
            0..=2 => bfn,
            3 => bfn.wrapping_add(1),
            4 => bfn.wrapping_sub(1),
            5 => (bfn | 0x1ff).wrapping_add(1),
            6 => (bfn & !0x1ff).wrapping_sub(1),
            _ => bfn ^ 1 << dice.below(4 * walker::LEVEL_BITS as usize),
        })
    }
}

impl UnitModel {
    /// Does what it may do at this instant; `dice` choose.
    pub(crate) fn meanwhile(&self, memory: &Memory, mut dice: Dice) {
        let mut state = lock(&self.state);
        if dice.once_in(16) {
            let State { buffer, .. } = &mut *state;
            buffer.flush(&memory.tables, &self.facts);
        }
        let Some(device) = self.some_device(&state, &mut dice) else { return };
        if let Some(bfn) = state.recent.near(&mut dice) {
            // What it finds it keeps, and what it must not find is recorded.
            let _ = self.load(&mut state, memory, device, bfn << 12);
        }
    }

    fn some_device(&self, state: &State, dice: &mut Dice) -> Option<PciDevice> {
        let devices = state.devices.len();
        if devices == 0 { None } else { state.devices.translated(dice.below(devices)) }
    }
}
