//! All that changes in a unit.

use std::collections::HashSet;

use super::{
    Act, Config, Manner, Violation,
    caches::Caches,
    fault::Records,
    register::global::{CFI, IRE, QIE, SRTP, TE},
};
use crate::hardware::Ram;

/// A command of the global register that does not show yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) bit: u32,
    pub(super) on: bool,
    /// How often the status is read before.
    pub(super) reads: u32,
}

pub(super) struct State {
    pub(super) config: Config,
    pub(super) manner: Manner,
    pub(super) status: u32,
    pub(super) pending: Option<Pending>,
    pub(super) root_register: u64,
    pub(super) root: Option<u64>,
    pub(super) interrupt_register: u64,
    pub(super) interrupts: Option<u64>,
    /// All is forgotten since the table was taken over: contexts, translations, interrupts.
    pub(super) forgotten: [bool; 3],
    pub(super) queue: u64,
    pub(super) head: u64,
    pub(super) tail: u64,
    /// IQE, ICE and ITE.
    pub(super) errors: u32,
    /// Waits that were fetched and not done.
    pub(super) waits: Vec<(u64, u32)>,
    pub(super) records: Records,
    pub(super) fault_control: u32,
    /// Data, address, upper address.
    pub(super) fault_message: [u32; 3],
    pub(super) protected: u32,
    pub(super) context_command: u64,
    pub(super) iotlb_command: u64,
    pub(super) caches: Caches,
    /// What it sees of memory, if stores wait in a buffer.
    pub(super) view: Option<Vec<u64>>,
    /// Pages that a table leaves out: its address, and the page.
    pub(super) holes: HashSet<(u64, u64)>,
    /// Devices that make a request at every access: source and page.
    pub(super) busy: Vec<(u16, u64)>,
    /// Translation was on, so nothing may pass without.
    pub(super) guarded: bool,
    pub(super) acts: Vec<Act>,
    pub(super) violations: Vec<Violation>,
}

impl State {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            manner: Manner::default(),
            status: 0,
            pending: None,
            root_register: 0,
            root: None,
            interrupt_register: 0,
            interrupts: None,
            forgotten: [false; 3],
            queue: 0,
            head: 0,
            tail: 0,
            errors: 0,
            waits: Vec::new(),
            records: Records::new(config.records().1),
            fault_control: 1 << 31,
            fault_message: [0; 3],
            protected: 0,
            context_command: 0,
            iotlb_command: 0,
            caches: Caches::default(),
            view: config.has_write_buffer().then(Vec::new),
            holes: HashSet::new(),
            busy: Vec::new(),
            guarded: false,
            acts: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn is(&self, bit: u32) -> bool {
        self.status & bit != 0
    }

    /// What firmware has left.
    pub(super) fn left_on(&mut self, root: u64, translation: bool, queue: u64, remapping: bool) {
        if translation {
            (self.root_register, self.root) = (root, Some(root & !0xfff));
            self.status |= TE | SRTP;
            self.guarded = true;
        }
        if queue != 0 {
            self.queue = queue;
            self.status |= QIE;
        }
        if remapping {
            self.interrupts = Some(0x1234_5000);
            self.status |= IRE | CFI;
        }
    }

    /// Two words that a walk reads.
    pub(super) fn walked(&self, ram: &Ram, address: u64) -> Option<[u64; 2]> {
        let Some(view) = &self.view else {
            return ram.read_pair(address, self.config.snoops());
        };
        let first = ram.at(address)?;
        view.get(first..first + 2)?.try_into().ok()
    }

    /// All stores so far are seen from now on.
    pub(super) fn flush_write_buffer(&mut self, ram: &Ram) {
        if self.view.is_some() {
            self.view = Some(ram.all(self.config.snoops()));
        }
    }
}
