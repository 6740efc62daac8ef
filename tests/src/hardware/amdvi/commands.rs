//! Commands: what they are, and when they are done (section 2.4).

use pviommu_hypervisor::platform::Tag;

use super::{
    Mistake, State, Unit,
    registers::{address, size, status},
};
use crate::hardware::Ram;
use crate::iommu::amdvi::command as pages;

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// COMPLETION_WAIT that stores.
    Wait {
        /// Where.
        address: u64,
        /// What.
        value: u64,
    },
    /// INVALIDATE_DEVTAB_ENTRY of an id.
    ForgetDevice(u16),
    /// INVALIDATE_IOMMU_PAGES.
    ForgetPages {
        /// Of this domain id.
        tag: Tag,
        /// This bus frame, and all up to
        first: u64,
        /// this one.
        last: u64,
        /// The way there, too.
        tables: bool,
    },
    /// INVALIDATE_INTERRUPT_TABLE of an id.
    ForgetInterrupts(u16),
    /// INVALIDATE_IOMMU_ALL.
    ForgetAll,
}

/// When commands are done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Manner {
    /// As soon as the tail is set.
    #[default]
    AtOnce,
    /// When its registers were looked at so many times.
    After(usize),
    /// When [`Unit::run`] is called, and else never.
    Never,
    /// At once, but nothing is stored for those who wait.
    Silent,
}

/// Takes a command apart; `None` if it is none, or has reserved bits.
pub(super) fn decode(words: [u64; 2]) -> Option<Command> {
    const STORE: u64 = 1 << 0;
    let [low, high] = words;
    // Bits that say something, but for the opcode.
    let id = (low & 0xffff) as u16;
    Some(match low >> 60 {
        1 if low & (0xff << 52 | 0b110) == 0 && low & STORE != 0 => {
            Command::Wait { address: low & 0x000f_ffff_ffff_fff8, value: high }
        }
        5 if low & !(0xf << 60 | 0xffff) == 0 && high == 0 => Command::ForgetInterrupts(id),
        8 if low & !(0xf << 60) == 0 && high == 0 => Command::ForgetAll,
        _ => match pages::decode(words).ok()? {
            pages::Command::ForgetDevice { id } => Command::ForgetDevice(id),
            pages::Command::ForgetPages { tag, first, last, tables } => {
                Command::ForgetPages { tag, first, last, tables }
            }
        },
    })
}

impl Unit {
    /// Does all that it was told, whatever its manner.
    pub fn run(&self) {
        self.state().work(&self.ram, true);
    }
}

impl State {
    pub(super) fn work_if_due(&mut self, ram: &Ram) {
        match self.manner {
            Manner::AtOnce => self.work(ram, true),
            Manner::Silent => self.work(ram, false),
            Manner::After(looks) if self.looks > looks => self.work(ram, true),
            Manner::After(_) | Manner::Never => {}
        }
    }

    fn work(&mut self, ram: &Ram, stores: bool) {
        while self.registers.has(status::COMMANDS_RUN)
            && self.registers.command_head != self.registers.command_tail
        {
            let head = self.registers.command_head;
            let at = address(self.registers.commands) + head;
            let words = ram.read(at, self.registers.snoops()).unwrap_or_default();
            let Some(command) = decode(words) else {
                // ILLEGAL_COMMAND_ERROR: it stays where it is.
                self.mistakes.push(Mistake::Command(words));
                self.registers.status &= !status::COMMANDS_RUN;
                self.log(ram, 0, [5 << 60, at]);
                return;
            };
            self.registers.command_head = (head + 16) % size(self.registers.commands);
            self.at_the_end = self.registers.command_head == 0;
            self.done.push(words);
            match command {
                Command::Wait { address, value } if stores => ram.write(address, &[value]),
                Command::Wait { .. } => {}
                other => self.forget(other),
            }
        }
    }
}
