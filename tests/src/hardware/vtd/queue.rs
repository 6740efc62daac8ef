//! The invalidation queue: section 6.5.2.

use super::{
    act::{Act, Violation},
    descriptor::{Asked, decode},
    manner::Waits,
    register::{
        global::QIE,
        status::{ICE, IQE, ITE, STOPS},
    },
    state::State,
};
use crate::hardware::Ram;

impl State {
    /// IQT was written.
    pub(super) fn set_tail(&mut self, ram: &Ram, tail: u64) {
        self.tail = tail >> 4;
        self.run(ram);
    }

    /// IQH is read: time goes by.
    pub(super) fn read_head(&mut self, ram: &Ram) -> u64 {
        if let Waits::After(reads) = self.manner.waits {
            self.manner.waits = match reads.checked_sub(1) {
                Some(left) => Waits::After(left),
                None => {
                    self.finish(ram);
                    Waits::AtOnce
                }
            };
        }
        self.head << 4
    }

    /// FSTS was written: what it clears goes on.
    pub(super) fn clear_errors(&mut self, ram: &Ram, bits: u32) {
        self.errors &= !(bits & STOPS);
        self.run(ram);
    }

    /// A device confirms an invalidation that nobody asked for.
    pub(super) fn confuse(&mut self) {
        self.errors |= ICE;
    }

    /// Does all waits that are fetched.
    pub(super) fn finish(&mut self, ram: &Ram) {
        for (address, data) in std::mem::take(&mut self.waits) {
            self.write_status(ram, address, data);
        }
    }

    /// Fetches and carries out what is between head and tail, until something stops it.
    pub(super) fn run(&mut self, ram: &Ram) {
        let entries = 256u64 << (self.queue & 7);
        while self.is(QIE)
            && !self.manner.stuck
            && self.errors & STOPS == 0
            && self.head != self.tail
        {
            let address = (self.queue & !0xfff) + 16 * self.head;
            // The queue is snooped, whatever ECAP.C says.
            let Some(words) = ram.read(address, true) else {
                self.violations.push(Violation::NoMemory(address));
                self.errors |= IQE;
                return;
            };
            let refused = self.manner.refuses.is_some_and(|refuses| refuses(words));
            match decode(words, &self.config).filter(|_| !refused) {
                Some(asked) => {
                    self.head = (self.head + 1) % entries;
                    self.carry_out(ram, words, asked);
                }
                None => {
                    if !refused {
                        self.violations.push(Violation::IllegalDescriptor(words));
                    }
                    self.errors |= IQE;
                }
            }
        }
    }

    fn carry_out(&mut self, ram: &Ram, words: [u64; 2], asked: Asked) {
        match asked {
            Asked::Contexts(scope) => self.forget_contexts(ram, scope),
            Asked::Translations { pages, writes, reads } => {
                self.forget_translations(ram, pages, (writes, reads));
            }
            Asked::Interrupts => self.forgotten[2] |= words == [4, 0],
            Asked::Wait { status } => {
                self.waits.extend(status);
                if self.manner.time_outs > 0 {
                    self.manner.time_outs -= 1;
                    self.waits.clear();
                    self.errors |= ITE;
                } else if self.manner.waits == Waits::AtOnce {
                    self.finish(ram);
                }
                return;
            }
        }
        self.acts.push(Act::Descriptor(words));
    }

    fn write_status(&mut self, ram: &Ram, address: u64, data: u32) {
        let Some([old]) = ram.read(address & !7, true) else {
            self.violations.push(Violation::NoMemory(address));
            return;
        };
        // 32 bits are written: the others stay.
        let shift = (address & 4) * 8;
        let others = !(0xffff_ffff << shift);
        ram.write(address & !7, &[old & others | u64::from(data) << shift]);
    }
}
