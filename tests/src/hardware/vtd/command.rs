//! The global command register: one thing at a time, and the status says when it is done (11.4.4).

use super::{
    act::{Act, Violation},
    descriptor::{Pages, Scope},
    register::{
        GCMD,
        global::{CFI, EAFL, IRE, LASTING, ONCE, QIE, SFL, SIRTP, SRTP, TE, WBF},
        status::STOPS,
    },
    state::{Pending, State},
};
use crate::hardware::Ram;

impl State {
    pub(super) fn command(&mut self, ram: &Ram, command: u32) {
        if command & !(LASTING | ONCE) != 0 {
            self.violations.push(Violation::Reserved(GCMD, command.into()));
        }
        if let Some(pending) = self.pending.take() {
            self.violations.push(Violation::NotWaitedFor(command));
            self.apply(ram, pending.bit, pending.on);
        }
        let changed = (command ^ self.status) & LASTING;
        let asked = changed | command & ONCE;
        if asked.count_ones() > 1 {
            self.violations.push(Violation::SeveralAtOnce(command));
        }
        for bit in (0..32).map(|number| 1 << number).filter(|bit| asked & bit != 0) {
            // The status says nothing until it is done; of the write buffer it says that until then.
            match bit {
                SRTP | SFL | SIRTP => self.status &= !bit,
                WBF => self.status |= WBF,
                _ => {}
            }
            if self.manner.deaf & bit != 0 {
                continue;
            }
            let on = command & bit != 0;
            match self.manner.slow {
                0 => self.apply(ram, bit, on),
                reads => self.pending = Some(Pending { bit, on, reads }),
            }
        }
    }

    /// The status, as it is read.
    pub(super) fn read_status(&mut self, ram: &Ram) -> u32 {
        let status = self.status;
        if let Some(pending) = &mut self.pending {
            pending.reads -= 1;
            if pending.reads == 0 {
                let Pending { bit, on, .. } = *pending;
                self.pending = None;
                self.apply(ram, bit, on);
            }
        }
        status
    }

    fn apply(&mut self, ram: &Ram, bit: u32, on: bool) {
        match (bit, on) {
            (SRTP, _) => self.take_root(),
            (SIRTP, _) => {
                self.interrupts = Some(self.interrupt_register);
                self.forgotten[2] = false;
            }
            (WBF, _) => self.flush_write_buffer(ram),
            (TE, true) => {
                let [contexts, translations, _] = self.forgotten;
                self.ready(bit, self.root.is_some() && contexts && translations);
                self.guarded = true;
            }
            (IRE, true) => self.ready(bit, self.interrupts.is_some() && self.forgotten[2]),
            (QIE, true) => {
                self.head = 0;
                if self.tail != 0 {
                    self.violations.push(Violation::QueueMoved);
                }
            }
            (QIE, false) => {
                let busy = self.head != self.tail && self.errors & STOPS == 0;
                if busy && !self.manner.stuck {
                    self.violations.push(Violation::QueueCutOff);
                }
                self.head = 0;
            }
            (EAFL | CFI | SFL, _) | (TE | IRE, false) => {}
            _ => return,
        }
        match bit {
            WBF => self.status &= !WBF,
            SRTP | SFL | SIRTP => self.status |= bit,
            _ if on => self.status |= bit,
            _ => self.status &= !bit,
        }
        self.acts.push(match bit {
            SRTP | SFL | SIRTP | WBF => Act::Once(bit),
            _ if on => Act::On(bit),
            _ => Act::Off(bit),
        });
    }

    fn take_root(&mut self) {
        const MODE: u64 = 3 << 10;
        if self.root_register & MODE != 0 {
            self.violations.push(Violation::OtherMode);
        }
        self.root = Some(self.root_register & !0xfff);
        [self.forgotten[0], self.forgotten[1]] = [false; 2];
    }

    fn ready(&mut self, bit: u32, is_ready: bool) {
        if !is_ready {
            self.violations.push(Violation::NotReady(bit));
        }
    }

    /// Forgets context entries.
    pub(super) fn forget_contexts(&mut self, ram: &Ram, scope: Scope) {
        self.flush_write_buffer(ram);
        self.caches.forget_contexts(scope);
        self.forgotten[0] |= scope == Scope::All;
    }

    /// Forgets translations, and drains. One that cannot drain on request always does.
    pub(super) fn forget_translations(
        &mut self,
        ram: &Ram,
        pages: Pages,
        (writes, reads): (bool, bool),
    ) {
        self.flush_write_buffer(ram);
        self.caches.forget_translations(pages);
        let can = self.config.drains();
        self.caches.drain(pages, (writes || !can.0, reads || !can.1));
        self.forgotten[1] |= pages == Pages::All;
    }
}
